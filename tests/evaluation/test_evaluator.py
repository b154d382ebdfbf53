"""The protocol against the real mmseg's: logits and label maps on awkward sizes, counts on a whole data set."""

import json
import shutil
import struct
import subprocess
import sys
import zlib
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI, golden_model, slow_after
from torch.utils._python_dispatch import TorchDispatchMode

from segzoo.cli import main
from segzoo.datasets.decode import read_label, read_pair
from segzoo.datasets.image import read_image
from segzoo.datasets.pairs import digest, samples
from segzoo.datasets.sample import Sample
from segzoo.datasets.subset import subset
from segzoo.errors import EnvironmentFault
from segzoo.evaluation import resize as resize_module
from segzoo.evaluation import windows as windows_module
from segzoo.evaluation.agreement import MARGIN, agreement, explained
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import Counts, counts_of
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.precision import TORCH_DTYPES, device_of, dtype_of
from segzoo.evaluation.windows import windows
from segzoo.formats import open_weights
from segzoo.layouts.vit import VIT
from segzoo.manifest.entries import geometry_of
from segzoo.models.segmentor import build
from segzoo.vocabulary import MODES, PRECISIONS

CPU = torch.device("cpu")
AWKWARD = sorted(path.stem for path in (GOLDEN / "mmseg" / "expected" / "mini_mask" / "ss").glob("*.npz"))
PIXELS = GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation"


def mini_samples(count=40):
    return samples("ade20k", MINI / "ade_mini", "validation", 40)[:count]


def mini_evaluator(entry, **setting):
    model = build(VIT, geometry_of(entry), open_weights(MINI / entry.checkpoint.name), head_eps=entry.head_eps, eps=entry.eps)
    return Evaluator(model, entry.protocol, 8, CPU, **setting)


def counted(evaluator, chosen, mode="ss"):
    return {sample.name: counts_of(one) for sample, one in evaluator.evaluate(chosen, mode)}


def recorded(record):
    return Counts(*(np.array(record[kind]) for kind in ("intersect", "pred", "label")))


def agrees(scores, logits, pred):
    """Logits within 1e-5; labels equal but where mmseg's own two best scores are closer than the margin."""
    expected = torch.from_numpy(logits)
    assert (scores - expected).abs().max() <= 1e-5
    best = expected.topk(2, dim=0).values
    differing = scores.argmax(0).numpy() != pred
    assert not (differing & ~(best[0] - best[1] < MARGIN).numpy()).any()


@pytest.mark.parametrize("image", AWKWARD)
@pytest.mark.parametrize("mode", ["ss", "ms+flip-1.x"])
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_scores_and_labels_on_awkward_sizes(head, mode, image, mini_zoo):
    golden = np.load(GOLDEN / "mmseg" / "expected" / f"mini_{head}" / ("ss" if mode == "ss" else "tta") / f"{image}.npz")
    evaluator = Evaluator(golden_model(head), mini_zoo.models["mini-mask"].protocol, 8, CPU)
    scores = evaluator.scores(read_image(PIXELS / f"{image}.png"), mode)
    agrees(scores, golden["logits" if mode == "ss" else "prob"].reshape(scores.shape), golden["pred"].reshape(scores.shape[1:]))


def test_what_an_unmodified_mmseg_makes_of_its_own_files_is_something_else(mini_zoo):
    """1.2.2 drops the patch bias: of a file without it we get its figures, and with the bias other ones."""
    for head in ("mask", "linear"):
        without = golden_model(head, without=("backbone.patch_embed.projection.bias",))
        ours, dropped = (Evaluator(model, mini_zoo.models["mini-mask"].protocol, 8, CPU) for model in (golden_model(head), without))
        changed = pixels = 0
        for image in AWKWARD:
            golden = np.load(GOLDEN / "mmseg" / "expected" / f"mini_{head}" / "ss_stock122_bias_dropped" / f"{image}.npz")
            rgb = read_image(PIXELS / f"{image}.png")
            agrees(scores := dropped.scores(rgb), golden["logits"].reshape(scores.shape), golden["pred"].reshape(scores.shape[1:]))
            changed += int((ours.scores(rgb).argmax(0).numpy() != golden["pred"].reshape(scores.shape[1:])).sum())
            pixels += rgb.shape[0] * rgb.shape[1]
        assert 0.04 < changed / pixels < 0.12


@pytest.mark.parametrize("image", AWKWARD)
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_native_sizes(head, image, mini_zoo):
    """Without a resize before the windows, and so without one after."""
    golden = np.load(GOLDEN / "mmseg" / "expected" / f"mini_{head}" / "native" / f"{image}.npz")
    rgb = read_image(PIXELS / f"{image}.png")
    long, short = max(rgb.shape[:2]), min(rgb.shape[:2])
    protocol = mini_zoo.models["mini-mask"].protocol.model_copy(update={"scale": (long, short)})
    scores = Evaluator(golden_model(head), protocol, 8, CPU).scores(rgb)
    agrees(scores, golden["logits"].reshape(scores.shape), golden["pred"].reshape(scores.shape[1:]))


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_figures_on_awkward_sizes_with_labels_beyond_the_classes(head, mini_zoo):
    """Those are refused in a data set; counted as mmseg does, they are false positives and nobody's pixels."""
    evaluator = Evaluator(golden_model(head), mini_zoo.models["mini-mask"].protocol, 8, CPU)
    expected = json.loads((GOLDEN / "mmseg" / "expected" / f"mini_{head}" / "ss" / "metrics.json").read_text())["per_image"]
    for image in AWKWARD:
        with Image.open(GOLDEN / "mmseg" / "data" / "mini" / "annotations" / "validation" / f"{image}.png") as raw:
            label = np.array([255, *range(254), 255], np.uint8)[np.array(raw)]
        assert (label == 199).any()
        found = confusion(evaluator.scores(read_image(PIXELS / f"{image}.png")).argmax(0), label, 8).numpy()
        assert counts_of(found) == recorded(next(one for name, one in expected.items() if name.startswith(image)))
        assert found[-1].sum() == (label == 199).sum()


@pytest.mark.parametrize("mode", ["ms+flip", "ms+flip-1.x"])
@pytest.mark.parametrize("head", slow_after(1, ["mask", "linear"]))
def test_augmented_counts_are_mmsegs(head, mode, mini_zoo):
    entry = mini_zoo.models[f"mini-{head}"]
    evaluator = mini_evaluator(entry)
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())[entry.counts.keys[mode]]["per_image"]
    chosen = mini_samples()[::5]
    found = counted(evaluator, chosen, mode)
    for sample in chosen:
        expected = recorded(stored[sample.name])
        assert found[sample.name] == expected or explained(evaluator, sample, found[sample.name], expected, mode)[0], sample.name


@pytest.mark.parametrize("mode", ["ss", "ms+flip"])
def test_a_picture_too_large_for_memory_gets_the_same_scores_in_narrow_bands(mode, mini_zoo, monkeypatch):
    """What is too large may be lowered instead: rows of patches, of scores and of the resized image, a few at a time."""
    evaluator = mini_evaluator(mini_zoo.models["mini-mask"])
    pixels = np.concatenate([read_image(PIXELS / f"{image}.png")[:33, :60] for image in AWKWARD[:4]], axis=1)
    whole, labels = evaluator.scores(pixels, mode), evaluator.label_map(pixels, mode)
    monkeypatch.setattr(windows_module, "_WIDE_BYTES", 0)
    monkeypatch.setattr(windows_module, "_BAND_BYTES", {"cpu": 1})
    monkeypatch.setattr(resize_module, "_BAND", {"cpu": 1})
    assert (evaluator.scores(pixels, mode) - whole).abs().max() < 1e-5
    assert (evaluator.label_map(pixels, mode) == labels).mean() > 0.999


def test_the_whole_image_is_one_window_where_it_fits_one(mini_zoo):
    evaluator = mini_evaluator(mini_zoo.models["mini-mask"])
    pixels = read_image(PIXELS / "mini_00_64x64.png")
    assert torch.equal(evaluator.scores(pixels), evaluator.scores(pixels, "whole"))
    wide = np.concatenate([pixels, pixels], axis=1)
    assert (evaluator.scores(wide) - evaluator.scores(wide, "whole")).abs().max() > 0.1


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_the_mini_zoos_logits(head, mini_zoo):
    evaluator = mini_evaluator(mini_zoo.models[f"mini-{head}"])
    for path in sorted((GOLDEN / "mini_zoo" / f"{head}_ss").glob("*.npz")):
        golden = np.load(path)
        scores = evaluator.scores(read_image(MINI / "ade_mini" / "images" / "validation" / f"{path.stem}.jpg"))
        assert (scores - torch.from_numpy(golden["logits"].reshape(scores.shape))).abs().max() <= 2e-5  # logits up to 20 here
        assert np.array_equal(scores.argmax(0).numpy(), golden["pred"].reshape(scores.shape[1:]))


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_every_images_counts_are_mmsegs(head, mini_zoo):
    """Exactly equal; where a machine adds in another order, only by pixels whose two best scores are closer than 2e-5."""
    evaluator = mini_evaluator(mini_zoo.models[f"mini-{head}"])
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())[f"{head}/ss"]["per_image"]
    found = counted(evaluator, mini_samples())
    for sample in mini_samples():
        expected = recorded(stored[sample.name])
        assert found[sample.name] == expected or explained(evaluator, sample, found[sample.name], expected)[0], sample.name
    assert len(found) == 40


def test_images_seen_together_are_as_if_seen_alone(mini_zoo):
    evaluator = mini_evaluator(mini_zoo.models["mini-mask"])
    alone = counted(evaluator, mini_samples(12))
    evaluator.together = 5
    together = counted(evaluator, mini_samples(12))
    assert list(together) == list(alone)
    for sample in mini_samples(12):
        assert together[sample.name] == alone[sample.name] or explained(evaluator, sample, together[sample.name], alone[sample.name])[0]


@pytest.mark.parametrize("mode", slow_after(2, MODES))
def test_on_another_device_nothing_is_left_on_the_processor(mode, mini_zoo):
    """torch's meta device has shapes but no numbers, and as a GPU does it refuses to add what lies elsewhere."""
    meta = torch.device("meta")
    entry = mini_zoo.models["mini-mask"]
    evaluator = Evaluator(golden_model("mask"), entry.protocol, 8, meta, "bf16")
    images = [np.zeros((height, width, 3), np.uint8) for height, width in ((97, 131), (64, 64), (33, 200))]
    for image, seen in zip(images, evaluator.scored([evaluator.views(image, mode) for image in images]), strict=True):
        labels = evaluator.labels(seen)
        counts = confusion(labels, torch.zeros(labels.shape, dtype=torch.uint8, device=meta), 8)
        assert (labels.shape, counts.device, counts.dtype, counts.shape) == (image.shape[:2], meta, torch.int64, (9, 8))


def test_shards_are_parts_of_the_whole(mini_zoo):
    evaluator = mini_evaluator(mini_zoo.models["mini-linear"])
    evaluator.together = 3
    whole = {sample.name: one for sample, one in evaluator.evaluate(mini_samples(10))}
    shards = [{sample.name: one for sample, one in evaluator.evaluate(mini_samples(10), shard=(rank, 3))} for rank in range(3)]
    assert sorted(name for shard in shards for name in shard) == sorted(whole)
    assert all(np.array_equal(one, whole[name]) for shard in shards for name, one in shard.items())


class SmallMemory(torch.nn.Module):
    """A model on a device that holds the activations of so many windows."""

    stride = 8

    def __init__(self, model, room, beyond):
        super().__init__()
        self.backbone, self.model, self.room, self.beyond = model.backbone, model, room, beyond

    def scores(self, pixels):
        if len(pixels) > self.room:
            self.beyond()
        return self.model.scores(pixels)


def on_cuda():
    raise torch.OutOfMemoryError


def on_apples_gpu():
    raise RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, other allocations: 1.00 MB, max allowed: 9.07 GB).")


def on_a_processor():
    torch.empty(1 << 60, dtype=torch.uint8)  # what no machine has


@pytest.mark.parametrize("beyond", [on_cuda, on_apples_gpu, on_a_processor])
def test_out_of_memory_halves_what_goes_at_once_and_says_so(beyond, mini_zoo):
    said = []
    plenty = mini_evaluator(mini_zoo.models["mini-mask"])
    scarce = replace(plenty, model=SmallMemory(plenty.model, 3, beyond), warn=said.append)
    rgb = np.concatenate([read_image(PIXELS / "mini_03_33x200.png")] * 2, axis=1)
    assert torch.allclose(scarce.scores(rgb, "ms+flip"), plenty.scores(rgb, "ms+flip"), atol=1e-6)
    assert said == scarce.notes
    assert said[-1] in ("out of memory: on with 2 windows at once", "out of memory: on with 3 windows at once")
    none = replace(plenty, model=SmallMemory(plenty.model, 0, beyond))
    with pytest.raises(EnvironmentFault, match="out of memory with a single window on cpu"):
        none.scores(rgb)


def test_other_errors_of_a_device_are_not_taken_for_want_of_memory(mini_zoo):
    def assertion():
        raise RuntimeError("CUDA error: device-side assert triggered")

    plenty = mini_evaluator(mini_zoo.models["mini-linear"])
    with pytest.raises(RuntimeError, match="device-side assert"):
        next(replace(plenty, model=SmallMemory(plenty.model, 0, assertion)).evaluate(mini_samples(1)))


def test_every_precision_can_be_asked_for():
    assert tuple(TORCH_DTYPES) == PRECISIONS


def test_half_precision_agrees_with_single_on_nearly_all_pixels(mini_zoo):
    entry = mini_zoo.models["mini-mask"]
    for precision, least in (("bf16", 99.9), ("fp16", 99.98)):
        other = mini_evaluator(entry, precision=precision)
        assert {parameter.dtype for parameter in other.model.parameters()} == {torch.bfloat16 if precision == "bf16" else torch.float16}
        share = agreement(other, mini_evaluator(entry), mini_samples(20), "ss")
        assert share["images"] == 20
        assert least < share["pixels_percent"] < 100
    with pytest.raises(EnvironmentFault, match="tf32 is a way in which NVIDIA's GPUs multiply"):
        mini_evaluator(entry, precision="tf32")


def test_tf32_needs_a_gpu_that_has_it(monkeypatch):
    """Whichever GPU torch tells of; its own answer is all that can stand in for one."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    for capability, refused in (((7, 0), True), ((7, 5), True), ((8, 0), False), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        with pytest.raises(EnvironmentFault, match="tf32: Tesla V100 is older") if refused else nullcontext():
            assert dtype_of("tf32", torch.device("cuda")) is torch.float32


@pytest.mark.parametrize("name", ["cuda:99", "meta", "gpu", "cpu:cpu"])
def test_a_device_that_is_not_here_is_named(name):
    with pytest.raises(EnvironmentFault, match=f"device '{name}' cannot be used: |no device '{name}'; there are cpu, cuda, cuda:N and mps") as raised:
        device_of(name)
    assert "--device cpu" in raised.value.hint
    assert device_of("cpu") == CPU


def test_a_run_on_a_device_that_is_not_here_ends_with_the_code_of_the_environment():
    for arguments in (["verify", "mini-linear", "--images", "2"], ["predict", "mini-linear", str(PIXELS / "mini_00_64x64.png")]):
        done = CliRunner().invoke(main, ["--zoo", "mini", *arguments, "--device", "cuda:99"])
        assert "to fetch" not in done.stderr  # said before anything else
        assert done.exit_code == 8, done.exception
        assert "device 'cuda:99' cannot be used" in done.output


TF32 = """
import torch
from segzoo.evaluation.precision import arithmetic
matmul, cudnn, cpu = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
def now():
    return [one.fp32_precision for one in (matmul, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv)]
{by_the_program}
before = now()
with arithmetic("tf32"):
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
with arithmetic("fp32"):
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)
    assert not {{"tf32", "bf16"}} & set(now()), now()
assert now() == before
"""
BY_THE_PROGRAM = [
    "",
    "matmul.allow_tf32 = True; cudnn.allow_tf32 = False",
    'matmul.fp32_precision = "tf32"; cudnn.conv.fp32_precision = "ieee"',
    'torch.backends.fp32_precision = "tf32"',
    'torch.set_float32_matmul_precision("medium")',
]


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9 has one name for it")
@pytest.mark.parametrize("by_the_program", slow_after(1, BY_THE_PROGRAM))
def test_tf32_is_off_whatever_a_program_has_set_under_either_of_its_names(by_the_program):
    subprocess.run([sys.executable, "-c", TF32.format(by_the_program=by_the_program)], check=True)


class Products(TorchDispatchMode):
    """Notes whether matrix products may be rounded to TF32: in the network, and in all that follows it."""

    def __init__(self, model):
        super().__init__()
        self.model, self.found = model, {True: set(), False: set()}

    def __torch_dispatch__(self, function, types, arguments=(), more=None):
        if any(product in str(function) for product in ("linear", "matmul", "mm.")):
            self.found[self.model.running].add(torch.backends.cuda.matmul.allow_tf32)
        return function(*arguments, **(more or {}))


class Running(torch.nn.Module):
    """A model that tells whether it runs."""

    stride = 8

    def __init__(self, model):
        super().__init__()
        self.backbone, self.model, self.running = model.backbone, model, False

    def scores(self, pixels):
        self.running = True
        found = self.model.scores(pixels)
        self.running = False
        return found


def test_only_the_network_is_computed_in_tf32(mini_zoo):
    """What upsamples its scores is a matrix product too, and must not depend on the precision."""
    plain = mini_evaluator(mini_zoo.models["mini-linear"])
    model = Running(plain.model)
    evaluator = replace(plain, model=model)
    evaluator.precision = "tf32"  # on a device that has none, where the switch shows all the same
    with Products(model) as products:
        list(evaluator.evaluate(mini_samples(2)))
        evaluator.scores(read_image(PIXELS / "mini_00_64x64.png"), "ms+flip")
    assert products.found == {True: {True}, False: {False}}


def test_close_calls_explain_no_more_than_they_can(mini_zoo):
    evaluator = mini_evaluator(mini_zoo.models["mini-linear"])
    sample = mini_samples()[0]
    found = counted(evaluator, [sample])[sample.name]
    moved = Counts(found.intersect.copy(), found.pred + np.array([500, -500, 0, 0, 0, 0, 0, 0]), found.label)
    assert not explained(evaluator, sample, found, moved)[0]
    assert explained(evaluator, sample, found, found)[0]


@pytest.mark.parametrize(
    ("length", "expected"),
    [(64, ((0, 64),)), (20, ((0, 20),)), (65, ((0, 64), (1, 65))), (112, ((0, 64), (48, 112))), (113, ((0, 64), (48, 112), (49, 113)))],
)
def test_windows(length, expected):
    assert windows(length, 64, 48) == expected


def test_a_subset_is_seeded_in_order_and_of_all_sizes(tmp_path):
    found = mini_samples()
    chosen = subset(found, 5)
    assert chosen == subset(found, 5) != subset(found, 5, seed=1)
    assert chosen == sorted(chosen, key=lambda sample: sample.name)
    assert len(set(chosen)) == 5
    assert subset(found, 50) == subset(found, None) == list(found)
    sizes = []
    for side in range(1, 31):
        path = tmp_path / f"{side:02}.png"
        Image.new("L", (side, side)).save(path)
        sizes.append(Sample(path.name, path, path))
    for seed in range(20):
        sides = [int(sample.name[:2]) for sample in subset(sizes, 3, seed)]
        assert [(side - 1) // 10 for side in sides] == [0, 1, 2]  # a small one, a middling one, a large one


def test_labels_follow_ade20ks_rule(tmp_path):
    Image.fromarray(np.array([[0, 1, 150, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_label(Sample("a", tmp_path / "a.png", tmp_path / "a.png"), 150).tolist() == [[255, 0, 149, 255]]


def test_a_palette_image_holds_indices(tmp_path):
    image = Image.new("P", (3, 1))
    image.putdata([0, 3, 1])
    image.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png")
    assert read_label(Sample("a", tmp_path / "a.png", tmp_path / "a.png"), 3).tolist() == [[255, 2, 0]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 9, 12, 9]], np.uint8), "labels 9, 12 in 3 pixels, but the data set has 8 classes"),
        (np.array([[0, 300]], np.uint16), "labels 300 in 1 pixels, but the data set has 8 classes"),
    ],
)
def test_labels_that_cannot_be_are_named(values, said, tmp_path):
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match=said) as raised:
        read_label(Sample("a", tmp_path / "a.png", tmp_path / "a.png"), 8)
    assert "a.png" in raised.value.message
    assert "another edition of the data set" in raised.value.hint


def test_images_are_turned_as_exif_says_and_labels_are_not(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)
    sample = Sample("a", tmp_path / "a.jpg", tmp_path / "a.png")
    assert read_label(sample, 8).shape == (4, 6)
    with pytest.raises(EnvironmentFault, match="6x4 pixels, its image has 4x6") as raised:
        read_pair(sample, 8)
    assert raised.value.hint.startswith("as stored, a.jpg has the label's size; its EXIF turns it")
    Image.new("L", (4, 5)).save(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match="4x5 pixels, its image has 4x6") as raised:
        read_pair(sample, 8)
    assert raised.value.hint.startswith("one of them was resized")


def entry(tag, kind, value):
    """An entry of EXIF with one value of a kind: 3 is a number of 16 bits, 5 a ratio, whose bytes follow the two entries there are."""
    return struct.pack("<HHII", tag, kind, 1, value)


@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("beside", [entry(0x0100, 3, 6), entry(0x010E, 5, 38)], ids=["whole", "a title that is a ratio"])
def test_every_orientation_is_cv2s_whatever_else_exif_holds(beside, turn, tmp_path):
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry(0x0112, 3, turn) + beside + struct.pack("<III", 0, 6, 0)
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)).save(path, exif=exif)
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


def marked(kind, data):
    """A segment of a JPEG file."""
    return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def turned_by(turn, order="<", kind=3):
    """EXIF of one entry, the orientation, in either order of bytes and of any kind of number."""
    value = struct.pack(f"{order}I" if kind == 4 else f"{order}HH", *([turn] if kind == 4 else [turn, 0]))
    return struct.pack(f"{order}2sHIHHHI", b"II" if order == "<" else b"MM", 42, 8, 1, 0x0112, kind, 1) + value + bytes(4)


XMP = (
    b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
HELD = {  # what stands in a JPEG before its pixels
    "in XMP alone": [XMP],
    "in EXIF after XMP": [XMP, b"Exif\0\0" + turned_by(3)],
    "twice": [b"Exif\0\0" + turned_by(6), b"Exif\0\0" + turned_by(3)],
    "big-endian": [b"Exif\0\0" + turned_by(6, ">")],
    "as a long number": [b"Exif\0\0" + turned_by(6, "<", 4)],
    "as a long number, big-endian": [b"Exif\0\0" + turned_by(6, ">", 4)],
    "as a byte": [b"Exif\0\0" + turned_by(6, "<", 1)],
    "cut off after it": [b"Exif\0\0" + turned_by(6)[:20]],
    "cut off before it": [b"Exif\0\0" + turned_by(6)[:15]],
    "in no EXIF": [b"Exif\0\0", b"Exif\0\0XX"],
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow reads it too, for the dots per inch
@pytest.mark.parametrize("held", HELD)
def test_an_orientation_is_found_where_cv2_finds_one(held, tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)).save(path)
    plain = path.read_bytes()
    path.write_bytes(plain[:2] + b"".join(marked(0xE1, one) for one in HELD[held]) + plain[2:])
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["eXIf", "iTXt", "tEXt"])
def test_an_orientation_of_a_png_is_found_where_cv2_finds_one(kind, after, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)).save(path)
    raw = b"Exif\0\0" + turned_by(6)
    more = {
        "eXIf": turned_by(6),
        "iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.split(b"\0", 1)[1],
        "tEXt": b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(raw), raw.hex().encode()),
    }
    plain = path.read_bytes()
    place = plain.index(b"IEND") - 4 if after else 33  # after the pixels, or before them
    path.write_bytes(plain[:place] + chunk(kind.encode(), more[kind]) + plain[place:])
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_tiff_is_turned_once(turn, tmp_path):
    path = tmp_path / "a.tif"
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8))
    pixels.save(path, tiffinfo={0x0112: turn})
    theirs = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)  # imread fails where sides change places
    assert np.array_equal(read_image(path), theirs[..., ::-1])


def test_a_cmyk_jpeg_that_nobody_marked_as_adobes_is_decoded_as_cv2_does(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 4), np.uint8), "CMYK").save(path)
    plain = path.read_bytes()
    mark = plain.index(b"\xff\xee")
    path.write_bytes(plain[:mark] + plain[mark + 2 + int.from_bytes(plain[mark + 2 : mark + 4]) :])
    with Image.open(path) as image:
        assert (image.mode, "adobe" in image.info) == ("CMYK", False)
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


KINDS = ["RGB.jpg", "L.jpg", "CMYK.jpg", "P.png", "RGBA.png", "LA.png", "1.png", "turned.jpg", "rgb16.png", "l16.png", "l16.pgm"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_decoded_as_cv2_does(kind, tmp_path):
    random = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(random.integers(0, 256, (40, 50, 3), np.uint8), (9, 9), 3)
    path = tmp_path / kind
    if "16" in kind:
        cv2.imwrite(str(path), random.integers(0, 65536, (40, 50, 3) if "rgb" in kind else (40, 50)).astype(np.uint16))
    elif kind == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 7
        Image.fromarray(pixels).save(path, exif=exif)
    else:
        Image.fromarray(pixels).convert(path.stem).save(path)
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.fixture
def ade(tmp_path):
    """A data set of one's own to break."""
    return shutil.copytree(MINI / "ade_mini", tmp_path / "ade")


FIRST = "validation/ADE_val_00000001"
FAULTS = {
    "no labels": (lambda ade: shutil.rmtree(ade / "annotations"), "no such folder"),
    "a label lost": (lambda ade: (ade / "annotations" / f"{FIRST}.png").unlink(), "labels are missing for 1 of [0-9]+ images"),
    "an image lost": (lambda ade: (ade / "images" / f"{FIRST}.jpg").unlink(), "images are missing for 1 labels"),
    "a pair lost": (
        lambda ade: [(ade / part).unlink() for part in (f"annotations/{FIRST}.png", f"images/{FIRST}.jpg")],
        "expected 40 images in 'validation', found 39",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_half_a_data_set(fault, ade):
    harm, said = FAULTS[fault]
    harm(ade)
    with pytest.raises(EnvironmentFault, match=said):
        samples("ade20k", ade, "validation", 40)


def test_a_damaged_image_a_wrong_label_and_a_wrong_size_are_named(ade, mini_zoo):
    found = samples("ade20k", ade, "validation", 40)
    whole = digest(found)
    image, label = found[0].image, found[0].label
    Image.new("L", (3, 3)).save(label)
    evaluator = mini_evaluator(mini_zoo.models["mini-linear"])
    with pytest.raises(EnvironmentFault, match="3x3 pixels, its image has 74x72"):
        next(evaluator.evaluate(found[:1]))
    Image.new("RGB", (3, 3)).save(label)
    with pytest.raises(EnvironmentFault, match="expected class indices of at most 16 bits, found an image of mode RGB"):
        next(evaluator.evaluate(found))
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(EnvironmentFault, match="not a readable image"):
        next(evaluator.evaluate(found))
    assert digest(found) != whole


@pytest.mark.parametrize("precision", slow_after(1, ["bf16", "fp16"]))
def test_close_calls_in_half_precision_are_those_that_its_rounding_decides(precision, mini_zoo):
    """As on another device: the same rounded weights, but sums that are rounded elsewhere. A model without its patch bias is another."""
    entry = mini_zoo.models["mini-mask"]
    evaluator, elsewhere, other = (mini_evaluator(entry, precision=precision) for _ in range(3))
    elsewhere.model, elsewhere.dtype = elsewhere.model.float(), torch.float32
    other.model.backbone.patch_embed.projection.bias.zero_()
    mine, same, wrong = (counted(one, mini_samples()) for one in (evaluator, elsewhere, other))
    differing = [sample for sample in mini_samples() if mine[sample.name] != same[sample.name]]
    assert differing
    assert all(explained(evaluator, sample, mine[sample.name], same[sample.name])[0] for sample in differing)
    assert not all(explained(evaluator, sample, mine[sample.name], wrong[sample.name])[0] for sample in mini_samples())
