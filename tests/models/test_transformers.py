"""MMSegmentation's transformer models: tiny ones against the real mmseg 1.2.2, and every row of the zoo against names and shapes of its classes."""

import gzip
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import GOLDEN, arrays, slow_after

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import detect
from segzoo.conversion.fit import refusal, unlike
from segzoo.conversion.plan import plan, steps_for
from segzoo.datasets.image import read_image
from segzoo.evaluation import protocols
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.windows import View
from segzoo.layouts import LAYOUTS, OWN
from segzoo.layouts.family import told
from segzoo.layouts.mit.geometry import STRIDES
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import geometry_of
from segzoo.models.segmentor import empty
from segzoo.spec import Spec
from segzoo.zoo.loading import module
from segzoo.zoo.opened import open_entry

FOLDER = GOLDEN / "transformers"
TINY = load_manifest(FOLDER / "zoo.yaml").models
FACTS = {row["checkpoint"]["name"]: row for row in json.loads(gzip.decompress((FOLDER / "facts.json.gz").read_bytes()))}
KEYS = json.loads(gzip.decompress((FOLDER / "keys.json.gz").read_bytes()))
KEYS |= {f"{name}.bin": keys for name, keys in json.loads(gzip.decompress((GOLDEN / "mit" / "keys.json.gz").read_bytes())).items()}
ROWS = {name: model for name, model in load_manifest(packaged("zoo.yaml")).models.items() if model.checkpoint.name in FACTS}
BUILT = {name: model for name, model in load_manifest(packaged("zoo.yaml")).models.items() if model.checkpoint.name in KEYS}
OFF = 1e-5  # of the largest |logit|; float32 against float64 is 6e-7 to 2.7e-6 in these models
CLOSE = 1e-4  # of the largest |logit|: where two classes are nearer, the label may differ


def golden_sizes(name: str) -> list[str]:
    """The sizes of the images that mmseg computed a model's scores of; the first one goes through it in one window."""
    return sorted(path.stem for path in (FOLDER / name.replace("-", "_")).glob("*.npz"))


def golden(name: str, size: str):
    return arrays(FOLDER / name.replace("-", "_") / f"{size}.npz")


def network(name: str):
    entry = TINY[name]
    return module(open_entry(entry, FOLDER / entry.checkpoint.urls[0].url), entry)


def seen_by(name: str, model, data):
    """The scores (c, h, w) at the original size of a golden's image, which is BGR and resized already."""
    evaluator = Evaluator(model, TINY[name].protocol, len(TINY[name].classes), torch.device("cpu"))
    pixels, target = torch.from_numpy(data["image"][..., ::-1].copy()), data["ori_shape"].tolist()
    pixels, look = protocols.seen(pixels, evaluator.protocol)
    axes = [protocols.windowed(side, pixels.shape[side], target[side], evaluator.protocol, "ss", evaluator.patch) for side in (0, 1)]
    with torch.inference_mode():
        return torch.cat(list(evaluator.bands(evaluator.scored([[View(*axes, False, pixels, look)]])[0]))).transpose(0, 1).numpy()


@pytest.mark.parametrize(("mode", "theirs"), [("ss-32", "ss"), ("ms+flip-32", "ms")])
@pytest.mark.parametrize("image", ["mini_01_50x90", "mini_03_33x200", "mini_05_20x31"])
def test_with_sides_of_multiples_of_32_it_computes_what_mmseg_computes(image, mode, theirs):
    data, pixels = arrays(FOLDER / "segformer_32.npz"), read_image(GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation" / f"{image}.png")
    entry = TINY["segformer-whole"]
    protocol = entry.protocol.model_copy(update={"scale": (256, 64)})
    with_step = protocol.model_copy(update={"multiple": 32})
    for followed, named in ((protocol, mode), (with_step, mode.removesuffix("-32"))):
        scores = Evaluator(network("segformer-whole"), followed, len(entry.classes), torch.device("cpu")).scores(pixels, named).numpy()
        assert apart(scores[:, ::3, ::3], data[f"{image}/{theirs}@s3"]) < OFF
        assert (scores.argmax(0) == data[f"{image}/{theirs}/labels"]).mean() > 0.999


def apart(mine, theirs) -> float:
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


def first_window(name: str, model, data, dtype=torch.float32):
    """Scores of the first window at its own size, padding included."""
    protocol, (top, left, bottom, right) = TINY[name].protocol, _window(data)
    image = torch.from_numpy(data["image"][top:bottom, left:right, ::-1].astype(np.float32))
    mean, std = (torch.tensor(values) for values in (protocol.mean, protocol.std))
    seen = ((image - mean) / std).permute(2, 0, 1)[None].to(dtype)
    if protocol.pad:
        seen = F.pad(seen, (0, -seen.shape[3] % protocol.pad, 0, -seen.shape[2] % protocol.pad))
    with torch.inference_mode():
        return model.to(dtype)(seen)[0].numpy()


def _window(data):
    (y1, x1, y2, x2), *_ = data["windows"].tolist()
    return y1, x1, y2, x2


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in TINY for size in golden_sizes(name)])
def test_a_tiny_model_computes_what_mmseg_computes(name, size):
    data, model = golden(name, size), network(name)
    scores = seen_by(name, model, data)
    assert apart(scores[:, ::3, ::3], data["final_logits@s3"]) < OFF
    best = np.partition(scores, -2, axis=0)
    clear = best[-1] - best[-2] > CLOSE * np.abs(scores).max()
    assert clear.mean() > 0.99
    assert (scores.argmax(0) == data["pred"])[clear].all()


@pytest.mark.parametrize("name", TINY)
def test_in_float64_it_computes_the_same_up_to_rounding(name):
    data = golden(name, golden_sizes(name)[0])
    if "logits64@s3" not in data or len(data["windows"]) > 1:
        pytest.skip("no golden in float64 of one window")
    assert apart(first_window(name, network(name), data, torch.float64)[:, ::3, ::3], data["logits64@s3"]) < 1e-12


# one thing done otherwise


def of_kind(model, kind):
    return [one for one in model.modules() if isinstance(one, kind)]


def eps(kind, value, part=lambda model: model):
    def change(model, monkeypatch):
        for one in of_kind(part(model), kind):
            one.eps = value

    return change


def aligned(model, monkeypatch):
    real = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda *args, **named: real(*args, **named | ({"align_corners": True} if "align_corners" in named else {})))


def by_size(model, monkeypatch):
    real = F.interpolate

    def resized(x, size=None, scale_factor=None, **named):
        sides = size if scale_factor is None else [int(side * scale_factor) for side in x.shape[-2:]]
        return real(x, sides, **named)

    monkeypatch.setattr(F, "interpolate", resized)


def tanh(model, monkeypatch):
    real = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, **given: real(x, **given | {"approximate": "tanh"}))


def without_norm(model, monkeypatch):
    model.backbone.final_norm = False


VITS = ["upernet-vit-mln"]
MUTANTS = {
    "GELU by tanh": (VITS, tanh),
    "BatchNorm eps 1e-3": (VITS, eps(torch.nn.BatchNorm2d, 1e-3)),
    "BatchNorm eps 1e-6": (VITS, eps(torch.nn.BatchNorm2d, 1e-6)),
    "backbone LayerNorm eps 1e-5": (VITS, eps(torch.nn.LayerNorm, 1e-5, lambda model: model.backbone)),
    "aligned corners": (VITS, aligned),
    "the neck resizes to a size, not by a factor": (VITS, by_size),
    "no final norm": (["upernet-vit-ln-mln"], without_norm),
}


@pytest.mark.parametrize(("change", "name"), [(change, name) for change, (names, _) in MUTANTS.items() for name in names])
def test_one_thing_done_otherwise_is_seen(change, name, monkeypatch):
    data, model = golden(name, golden_sizes(name)[0]), network(name)
    MUTANTS[change][1](model, monkeypatch)
    assert apart(first_window(name, model, data, torch.float64)[:, ::3, ::3], data["logits64@s3"]) > 1e-7


# the rows of the zoo


@pytest.mark.parametrize("name", slow_after(4, ROWS))
def test_a_row_is_what_the_facts_say(name):
    row, fact = ROWS[name], FACTS[ROWS[name].checkpoint.name]
    urls = [one.url for one in row.checkpoint.urls]
    assert row.checkpoint.sha256_prefix == fact["checkpoint"]["sha256_prefix8"]
    assert urls[0] == fact["checkpoint"]["url"]
    assert fact["checkpoint"].get("onedl_url") in (None, urls[1])
    reported, protocol = fact["reported"], fact["protocol"]
    assert (row.reported.miou, row.reported.miou_ms_flip) == (reported["miou"], reported.get("miou_ms_flip"))
    second = reported.get("with_ResizeToMultiple_32", {})
    assert (row.reported.miou_32, row.reported.miou_ms_flip_32) == (second.get("miou"), second.get("miou_ms_flip"))
    memory = reported.get("train_memory_gb")  # Mask2Former's on Swin-T stands there in megabytes
    assert (row.reported.fps, row.reported.train_memory_gb) == (reported.get("fps"), memory / 1000 if memory and memory > 1000 else memory)
    assert list(row.protocol.scale) == protocol["resize"][0]["scale"]
    crop, stride = row.protocol.windows
    assert (crop and list(crop), stride and list(stride)) == ((protocol["crop"], protocol["stride"]) if protocol["mode"] == "slide" else (None, None))
    assert row.protocol.pad == protocol.get("pad_test_input", {}).get("size_divisor")
    assert (list(row.protocol.mean), list(row.protocol.std)) == (protocol["mean"], protocol["std"])
    assert row.protocol.min_size == (fact["ms_flip"] or {}).get("min_size")
    assert row.config.endswith(fact["config"])
    assert row.head.classes == fact["classes"]
    assert row.protocol.dataset == {"ADE20K": "ade20k", "Cityscapes": "cityscapes"}[fact["dataset"]]
    _check_head(row, fact["decode_head"], fact["neck"])
    backbone = fact["backbone"]
    if backbone["type"] == "VisionTransformer":
        indices, taken, head = backbone["out_indices"], fact["decode_head"]["in_index"], fact["decode_head"]
        assert (row.backbone.heads, row.backbone.eps) == (backbone["num_heads"], backbone["norm_cfg"].get("eps", 1e-5))
        if isinstance(taken, int):  # the other blocks' outputs are for auxiliary heads
            assert (row.backbone.out_indices, indices if indices == -1 else indices[taken]) in ((None, -1), (None, row.backbone.depth - 1))
        else:
            assert row.backbone.out_indices == tuple(indices)
        assert (row.backbone.final_norm, row.backbone.class_token) == (backbone["final_norm"], backbone["with_cls_token"])
        assert backbone["output_cls_token"] is (head["type"] == "DPTHead")
        assert row.resample == backbone["interpolate_mode"]
    if backbone["type"] == "MixVisionTransformer":
        assert (list(row.backbone.heads), row.backbone.eps) == (backbone["num_heads"], backbone["norm_cfg"]["eps"])
        assert (list(STRIDES), row.backbone.conv_eps) == (backbone["strides"], None)


def _check_head(row, head, neck):
    if head["type"] == "SETRUPHead":
        found = (row.head.convs, row.head.kernel, row.head.scale, row.head.channels, row.head.eps)
        assert found == (*(head[side] for side in ("num_convs", "kernel_size", "up_scale", "channels")), head["norm_layer"]["eps"])
    if head["type"] == "SETRMLAHead":
        assert (row.head.channels, row.head.scale, row.head.levels) == (head["mla_channels"], head["up_scale"], len(head["in_channels"]))
        assert (row.neck.named, row.neck.width, row.neck.eps) == ("mla", neck["out_channels"], neck["norm_layer"]["eps"])
    if head["type"] == "Mask2FormerHead":
        pixels, layers = head["pixel_decoder"], head["transformer_decoder"]
        attention, ffn = (pixels["encoder"]["layer_cfg"][part] for part in ("self_attn_cfg", "ffn_cfg"))
        assert (row.head.channels, row.head.queries, row.head.groups) == (
            head["feat_channels"],
            head["num_queries"],
            pixels["norm_cfg"]["num_groups"],
        )
        assert (row.head.pixel_layers, row.head.pixel_mlp) == (pixels["encoder"]["num_layers"], ffn["feedforward_channels"])
        assert (row.head.heads, row.head.samples) == (attention["num_heads"], attention["num_heads"] * attention["num_points"])
        assert (row.head.layers, row.head.mlp) == (layers["num_layers"], layers["layer_cfg"]["ffn_cfg"]["feedforward_channels"])
        assert {layers["layer_cfg"][part]["num_heads"] for part in ("self_attn_cfg", "cross_attn_cfg")} == {row.head.heads}
    if head["type"] == "DPTHead":
        assert (list(row.head.widths), row.head.channels, head["readout_type"]) == (head["post_process_channels"], head["channels"], "project")


@pytest.mark.parametrize("name", slow_after(4, BUILT))
def test_a_rows_network_has_the_tensors_of_the_real_class(name):
    """By names and shapes: the file is read as its row says, the network is filled wholly, and every other layout gives it back."""
    row = BUILT[name]
    specs = {key: Spec(tuple(shape), dtype) for key, (shape, dtype) in KEYS[row.checkpoint.name].items()}
    found = detect(specs, positions=getattr(geometry_of(row), "positions", None))
    geometry, sizes = measure(found, specs, getattr(row.backbone, "heads", None))
    assert found.layout.name == row.checkpoint.layout
    expected = geometry_of(row)
    assert told(geometry, {**vars_of(expected), "neck": vars_of(expected.neck), "decoder": vars_of(expected.decoder)}) == expected
    assert {one.section for one in found.beside.values()} <= {"auxiliary head"}
    family = found.layout.family
    own = plan(specs, OWN[family.name], found=found, heads=geometry.heads)
    assert {drop.section for drop in own.dropped} <= {"auxiliary head"}
    made = empty(family, expected, own.specs, eps=row.eps, head_eps=row.head_eps, resample=row.resample)
    assert {key: tuple(value.shape) for key, value in made.state_dict().items()} == {key: spec.shape for key, spec in own.specs.items()}
    for to, layout in LAYOUTS[family.name].items():
        if to != found.layout.name and not refusal(found, layout):
            there = plan(specs, to, found=found, heads=geometry.heads, drop=unlike(found, layout))
            back = steps_for(found.rules, detect(there.specs, to, getattr(geometry, "positions", None)), there.specs, sizes)
            assert back
            assert all(step.spec == specs[step.rule.key] for step in back)


def vars_of(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__} if record else None
