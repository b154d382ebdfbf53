"""What a program asks for: whole pictures by a model that it holds, features with gradients, and the environment obeyed."""

import copy
import io
import json
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI, slow_after

import segzoo
from segzoo.cli import main
from segzoo.errors import EnvironmentFault, NetworkError, NotFoundError, UsageError
from segzoo.vocabulary import MODES
from segzoo.zoo.zoo import open_zoo

PHOTOS = sorted((MINI / "ade_mini" / "images" / "validation").glob("*.jpg"))[:4]
GOLD = {name: np.load(GOLDEN / "mini_zoo" / "mask_ss" / f"{name}.npz") for name in ("ADE_val_00000001", "ADE_val_00000002")}


@pytest.fixture(scope="module")
def model():
    return segzoo.load(MINI / "segmenter_mini_mask-6a6bc5f4.pth", zoo="mini")


# pictures


@pytest.mark.parametrize("name", GOLD)
def test_labels_shares_and_scores_are_mmsegs(name, model):
    found = segzoo.predict(model, PHOTOS[0].with_name(f"{name}.jpg"), scores=True)
    assert np.array_equal(found.labels, GOLD[name]["pred"])
    assert np.abs(found.scores - GOLD[name]["logits"]).max() < 1e-4
    assert (found.scores.dtype, found.scores.shape[0]) == (np.float32, len(found.classes))
    assert np.array_equal(found.scores.argmax(0), found.labels)
    names = list(found.classes)
    assert found.shares == {one: round(100 * float((found.labels == names.index(one)).mean()), 2) for one in found.shares}
    assert sum(found.shares.values()) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("mode", slow_after(1, MODES))
def test_the_library_and_the_command_find_the_same(mode, model, tmp_path):
    options = ["--mode", mode, "--device", "cpu", "-o", str(tmp_path), "--json"]
    done = CliRunner().invoke(main, ["--zoo", "mini", "predict", "mini-mask", *map(str, PHOTOS[:2]), *options])
    *records, totals = json.loads(done.stdout)["result"]
    assert totals["images"] == 2
    for one, record in zip(segzoo.predict(model, PHOTOS[:2], mode=mode), records, strict=True):
        with Image.open(record["labels"]) as labels:
            assert np.array_equal(one.labels, np.array(labels))
        assert list(one.shares.items()) == list(record["shares"].items())


def test_a_model_is_a_name_a_file_or_what_load_gave(model):
    by_name = segzoo.predict("mini-mask", PHOTOS[0], zoo="mini", device="cpu")
    by_file = segzoo.predict(MINI / "segmenter_mini_mask-6a6bc5f4.pth", PHOTOS[0], zoo="mini", device="cpu")
    held = segzoo.predict(model, PHOTOS[0])
    assert np.array_equal(by_name.labels, held.labels)
    assert np.array_equal(by_file.labels, held.labels)
    assert list(held.classes) == list(open_zoo("mini").manifest.datasets["ade-mini"].classes) == list(model.classes)
    assert held.scores is None


def test_a_picture_is_a_path_a_pil_image_or_an_array_and_several_are_a_list(model):
    pixels = np.array(Image.open(PHOTOS[0]))
    uploaded = Image.open(io.BytesIO(PHOTOS[0].read_bytes()))
    flipped = pixels[:, ::-1][:, ::-1]  # no copy: strides that torch does not take
    found = segzoo.predict(model, [str(PHOTOS[0]), PHOTOS[0], uploaded, pixels, flipped, np.asarray(Image.open(PHOTOS[0]))])
    assert len(found) == 6
    assert all(np.array_equal(one.labels, found[0].labels) for one in found)
    assert [len(segzoo.predict(model, many)) for many in ((), (PHOTOS[0],), iter(PHOTOS[:2]))] == [0, 1, 2]
    grey = segzoo.predict(model, Image.open(PHOTOS[0]).convert("L"))
    assert grey.labels.shape == found[0].labels.shape


def test_a_pil_image_is_taken_as_it_stands_and_a_file_as_its_exif_says(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(PHOTOS[0]) as image:
        image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
        width, height = image.size
    assert segzoo.predict(model, tmp_path / "turned.jpg").labels.shape == (width, height)
    assert segzoo.predict(model, Image.open(tmp_path / "turned.jpg")).labels.shape == (height, width)


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (np.zeros((3, 64, 64), np.uint8), UsageError, r"found uint8 3 x 64 x 64"),
        (np.zeros((64, 64, 3), np.float32), UsageError, r"expected an RGB image uint8 \(h, w, 3\), found float32 64 x 64 x 3"),
        (np.zeros((64, 64), np.uint8), UsageError, "found uint8 64 x 64"),
        (np.zeros((0, 64, 3), np.uint8), UsageError, "found uint8 0 x 64 x 3"),
        (torch.zeros(3, 64, 64), UsageError, "found Tensor"),
        ([PHOTOS[0], None], UsageError, "image 1: an image is a path, a PIL image or an array"),
        (PHOTOS[0].parent, UsageError, "a folder; give its images as a list"),
        ("none.jpg", EnvironmentFault, "none.jpg: not a readable image"),
        ([PHOTOS[0], np.zeros((1, 5000, 3), np.uint8)], EnvironmentFault, "image 1: too thin"),
    ],
)
def test_what_is_no_picture_is_said(wrong, kind, said, model):
    with pytest.raises(kind, match=said):
        segzoo.predict(model, [wrong] if isinstance(wrong, torch.Tensor) else wrong)


def test_a_damaged_pil_image_is_no_traceback(model):
    cut = Image.open(io.BytesIO(PHOTOS[0].read_bytes()[:900]))
    with pytest.raises(EnvironmentFault, match="not readable"):
        segzoo.predict(model, cut)


@pytest.mark.parametrize(
    ("options", "said"), [({"mode": "tta"}, "no mode 'tta'"), ({"precision": "int8"}, "no precision 'int8'"), ({"device": "gpu"}, "no device 'gpu'")]
)
def test_what_cannot_be_asked_is_said(options, said, model):
    with pytest.raises((UsageError, EnvironmentFault), match=said):
        segzoo.predict(model, PHOTOS[0], **options)


def test_a_backbone_or_another_module_sees_no_classes():
    for given, said in ((segzoo.load("mini-vit", zoo="mini"), "a backbone"), (torch.nn.Linear(2, 2), "found Linear")):
        with pytest.raises(UsageError, match=said):
            segzoo.predict(given, PHOTOS[0])
    with pytest.raises(UsageError, match="a backbone"):
        segzoo.predict("mini-vit", PHOTOS[0], zoo="mini")


def test_a_model_stays_as_it_is_when_it_predicts_in_another_precision(model):
    mine = copy.deepcopy(model)
    assert isinstance(segzoo.predict(mine, PHOTOS[0], precision="bf16").labels, np.ndarray)
    assert {parameter.dtype for parameter in mine.parameters()} == {torch.float32}
    mine.to(torch.bfloat16)
    half = segzoo.predict(mine, PHOTOS[0], scores=True).scores
    assert {parameter.dtype for parameter in mine.parameters()} == {torch.bfloat16}
    assert np.array_equal(half, segzoo.predict(model, PHOTOS[0], scores=True, precision="bf16").scores)
    wide = copy.deepcopy(model).double()
    assert np.array_equal(segzoo.predict(wide, PHOTOS[0]).labels, segzoo.predict(model, PHOTOS[0]).labels)
    assert {parameter.dtype for parameter in wide.parameters()} == {torch.float64}


def test_a_model_moves_and_runs_where_it_is(model):
    moved = copy.deepcopy(model).to("meta")
    assert (moved.device.type, model.device.type) == ("meta", "cpu")
    assert list(moved.classes) == list(model.classes)
    assert moved.protocol == model.protocol
    with pytest.raises(UsageError, match="the model is on meta, not on cpu") as caught:
        segzoo.predict(moved, PHOTOS[0], device="cpu")
    assert caught.value.hint == "model.to('cpu') moves it"


def test_threads_may_share_a_model(model):
    """Each picture has another size, and so another table of positions and another set of windows."""
    pictures = [np.random.default_rng(seed).integers(0, 256, (40 + seed, 90 - seed, 3), np.uint8) for seed in range(24)]
    alone = [segzoo.predict(model, one, mode="whole").labels for one in pictures]
    fresh = copy.deepcopy(model)
    fresh.backbone._resized.clear()
    started = threading.Barrier(4)

    def run(part):
        started.wait()
        return [segzoo.predict(fresh, one, mode="whole").labels for one in pictures[part::4]]

    with ThreadPoolExecutor(4) as pool:
        for part, found in enumerate(pool.map(run, range(4))):
            assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found, alone[part::4], strict=True))


# networks


@pytest.mark.parametrize("source", ["mini-vit", MINI / "mini.tame.npz"])
def test_a_backbone_is_loaded_by_name_and_from_a_file(source):
    network = segzoo.load(source, zoo="mini")
    assert not network.training
    image = torch.randn(2, 3, 64, 50)
    grids = network.features(image, layers=(0, 2))
    assert [grid.shape for grid in grids] == [(2, 64, 4, 4)] * 2
    assert torch.equal(grids[-1], network(image))
    with pytest.raises(UsageError, match="layer 11: there are 3 blocks, 0 to 2"):
        network.features(image, layers=(0, 11))


def test_a_model_has_the_features_of_its_backbone(model):
    image = torch.randn(1, 3, 64, 64)
    (grid,) = model.features(image, layers=[-1])
    assert torch.equal(grid, model.backbone(image))
    assert torch.equal(model.decode_head(grid), model.scores(image))


def test_gradients_are_there_where_they_are_asked_for(model):
    frozen, trained = segzoo.load("mini-vit", zoo="mini"), segzoo.load("mini-vit", zoo="mini", train=True)
    image = torch.randn(1, 3, 40, 72)
    assert not frozen.features(image, (1,))[0].requires_grad
    assert trained.training
    trained.features(image, (1,))[0].square().sum().backward()
    given = {name for name, parameter in trained.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}
    assert {"pos_embed", "cls_token", "patch_embed.projection.weight", "layers.1.ffn.layers.1.weight"} <= given
    assert not any(name.startswith("layers.2") for name in given)  # above the features


def test_a_step_of_training_changes_what_is_predicted():
    """Tables of positions that were resized before the step are not used after it."""
    trained = segzoo.load("mini-mask", zoo="mini", train=True)
    before = segzoo.predict(trained, PHOTOS[0], mode="whole", scores=True).scores
    optimiser = torch.optim.SGD([trained.backbone.pos_embed], lr=10.0)
    trained(torch.randn(1, 3, 72, 80)).square().mean().backward()
    optimiser.step()
    after = segzoo.predict(trained, PHOTOS[0], mode="whole", scores=True).scores
    trained.backbone._resized.clear()
    assert np.array_equal(after, segzoo.predict(trained, PHOTOS[0], mode="whole", scores=True).scores)
    assert not np.array_equal(before, after)


def test_an_image_wants_gradients_after_the_model_has_predicted(model):
    """What a prediction remembers is of no use to autograd where that would save it."""
    segzoo.predict(model, PHOTOS[0], mode="whole")
    height, width = segzoo.predict(model, PHOTOS[0]).labels.shape
    image = torch.randn(1, 3, height, width, requires_grad=True)
    model(image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_a_held_model_can_be_copied_and_saved(model, tmp_path):
    segzoo.predict(model, PHOTOS[0], mode="whole")
    twin = copy.deepcopy(model)
    torch.save(twin.state_dict(), tmp_path / "state.pth")
    twin.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True), strict=True)
    assert np.array_equal(segzoo.predict(twin, PHOTOS[0]).labels, segzoo.predict(model, PHOTOS[0]).labels)


@pytest.mark.parametrize("case", slow_after(1, [("mini-mask", (65, 90)), ("mini-mask", (64, 64)), ("mini-vit", (65, 90))]))
def test_a_network_is_traced_at_a_size(case):
    name, size = case
    network = segzoo.load(name, zoo="mini")
    example, image = torch.randn(1, 3, *size), torch.randn(1, 3, *size)
    with torch.no_grad():
        eager = network(image)
        exported = torch.export.export(network, (example,)).module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, that tracing is deprecated and fixes sizes
            traced = torch.jit.trace(network, (example,))
        assert torch.equal(exported(image), eager)
        assert torch.equal(traced(image), eager)


# the environment


@pytest.fixture
def away(tmp_path):
    """A zoo whose one backbone is at an address where nobody answers."""
    (tmp_path / "zoo.yaml").write_text((MINI / "zoo.yaml").read_text().replace("urls: [mini.tame", "urls: [http://127.0.0.1:9/mini.tame"))
    for name in ("ade_mini",):
        shutil.copytree(MINI / name, tmp_path / name)
    return tmp_path / "zoo.yaml"


CALLS = {
    "fetch": lambda **options: segzoo.fetch("mini-vit", **options),
    "load": lambda **options: segzoo.load("mini-vit", **options),
    "predict": lambda **options: segzoo.predict("mini-vit", PHOTOS[0], device="cpu", **options),
    "backbone": lambda **options: segzoo.backbone("mini-vit", **options),
    "export": lambda **options: segzoo.export("mini-vit", "exported", form="timm", **options),
}


def test_every_function_that_opens_a_zoo_takes_the_same_words():
    for name in (*CALLS, "evaluate"):
        assert {"zoo", "offline", "mirror"} <= signature(getattr(segzoo, name)).parameters.keys(), name


@pytest.mark.parametrize("name", CALLS)
def test_every_function_obeys_the_environment_and_its_caller_more(name, away, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGZOO_ZOO", str(away))
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    with pytest.raises(NotFoundError, match="not fetched: offline"):
        CALLS[name]()
    with pytest.raises(NotFoundError, match="no 'mini-vit' in this zoo"):
        CALLS[name](zoo="shipped")
    monkeypatch.setenv("SEGZOO_OFFLINE", "0")
    with pytest.raises(NotFoundError, match="not fetched: offline"):
        CALLS[name](offline=True)
    monkeypatch.setenv("SEGZOO_MIRROR", "ftp://x/")
    with pytest.raises(UsageError, match="mirror 'ftp://x/' is no http"):
        CALLS[name]()
    with pytest.raises(UsageError, match="mirror 'file:///x' is no http"):
        CALLS[name](mirror="file:///x")
    monkeypatch.setenv("SEGZOO_OFFLINE", "perhaps")
    with pytest.raises(UsageError, match="SEGZOO_OFFLINE is 'perhaps': expected 1, true"):
        CALLS[name](mirror=["http://127.0.0.1:9/"])


def test_evaluate_opens_no_connection_offline(away, monkeypatch):
    monkeypatch.setenv("SEGZOO_OFFLINE", "yes")
    away.write_text(away.read_text().replace("urls: [segm", "urls: [http://127.0.0.1:9/segm"))
    with pytest.raises(NotFoundError, match="offline"):
        segzoo.evaluate("mini-linear", images=1, zoo=away)


def test_a_mirror_is_tried_first_also_by_the_library(away, monkeypatch, tmp_path):
    from server import Ranged, serve

    with serve({"/mine/mini.tame.npz": Ranged((MINI / "mini.tame.npz").read_bytes())}) as server:
        assert segzoo.fetch("mini-vit", zoo=away, mirror=f"{server.base}/mine").is_file()
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "other"))
    with pytest.raises((NetworkError, NotFoundError)):
        segzoo.fetch("mini-vit", zoo=away, offline=True)


@pytest.mark.parametrize("value", ["1", "TRUE", "yes", "on", "t", " y ", "0", "false", "no", "OFF", "f", "n", "", "2", "perhaps"])
def test_the_command_and_the_library_read_offline_alike(value, away, monkeypatch):
    monkeypatch.setenv("SEGZOO_OFFLINE", value)
    monkeypatch.setenv("SEGZOO_ZOO", str(away))
    command = CliRunner().invoke(main, ["doctor"] if value in ("1", "0") else ["list"])
    if value in ("2", "perhaps"):
        with pytest.raises(UsageError, match="SEGZOO_OFFLINE is") as caught:
            open_zoo()
        assert (command.exit_code, caught.value.message in command.stderr) == (2, True)
    else:
        offline = open_zoo().offline
        assert offline == (value.strip().lower() in ("1", "true", "yes", "on", "t", "y"))
        assert value not in ("1", "0") or ("offline, as asked" in command.stdout) == offline


def test_the_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "store"))
    assert segzoo.fetch("mini-vit", zoo="mini").is_relative_to(tmp_path / "store")
    assert Path(CliRunner().invoke(main, ["store", "dir"]).stdout.strip()) == tmp_path / "store"
