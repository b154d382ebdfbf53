"""`segzoo predict` and `segzoo.load`: what users see of a model, from the zoo and from files of their own."""

import json
import os
import pickle
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI

import segzoo
from segzoo.cli import main
from segzoo.datasets.decode import read_image
from segzoo.errors import AccuracyError, ConversionError, EnvironmentFault, NotFoundError, UsageError
from segzoo.manifest.document import load_manifest
from segzoo.publishing.overlay import disagreement, index_map, legend
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import open_zoo

PHOTOS = MINI / "ade_mini" / "images" / "validation"
FIRST = PHOTOS / "ADE_val_00000001.jpg"
ZOO = load_manifest(MINI / "zoo.yaml")
CLASSES = ZOO.datasets["ade-mini"].classes


def predict(*arguments, **options):
    return CliRunner().invoke(main, ["--zoo", "mini", "predict", *map(str, arguments), "--device", "cpu"], **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_label_map_overlay_and_shares_are_mmsegs(folder):
    done = predict("mini-mask", FIRST, "--json")
    assert done.exit_code == 0, done.output
    (record,) = json.loads(done.stdout)["result"]
    expected = np.load(GOLDEN / "mini_zoo" / "mask_ss" / "ADE_val_00000001.npz")["pred"].reshape(record["height"], record["width"])
    with Image.open(folder / record["labels"]) as labels:
        assert np.array_equal(np.array(labels), expected)
        assert labels.mode == "P"
        assert np.array_equal(np.array(labels.convert("RGB")), np.array(list(CLASSES.values()), np.uint8)[expected])
    names = list(CLASSES)
    assert record["shares"] == {
        names[index]: round(100 * float((expected == index).mean()), 2)
        for index in sorted(np.unique(expected), key=lambda index: -(expected == index).sum())
    }
    with Image.open(folder / record["overlay"]) as overlay, Image.open(FIRST) as image:
        tint = 0.4 * np.array(image.convert("RGB"), float) + 0.6 * np.array(list(CLASSES.values()), float)[expected]
        assert np.abs(np.array(overlay)[: image.height, : image.width] - tint).max() <= 1
        assert overlay.width > image.width + 200  # the legend beside it


def test_folders_patterns_and_lists(folder):
    for index in (1, 2, 3):
        shutil.copy(PHOTOS / f"ADE_val_{index:08}.jpg", folder)
    (folder / "notes.txt").write_text("no image")
    assert predict("mini-linear", folder, "-o", "a").exit_code == 0
    assert predict("mini-linear", "*2.jpg", str(folder / "ADE*3.jpg"), "-o", "b").exit_code == 0
    assert predict("mini-linear", "-", "-o", "c", input=f"{FIRST}\n\n").exit_code == 0
    found = {name: sorted(path.name[7:16] for path in (folder / name).glob("*.overlay.png")) for name in "abc"}
    assert found == {"a": [f"_0000000{index}" for index in (1, 2, 3)], "b": ["_00000002", "_00000003"], "c": ["_00000001"]}
    assert len(list((folder / "a").iterdir())) == 6


@pytest.mark.slow
def test_a_list_may_have_names_that_are_not_utf_8(folder):
    shutil.copy(FIRST, folder / os.fsdecode(b"l\xe4tin.jpg"))
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "predict", "mini-linear", "-", "-o", "out", "--device", "cpu"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as most locales have it
    done = subprocess.run(command, input=b"l\xe4tin.jpg\n", capture_output=True, cwd=folder, env=strict)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(rb"l\xe4tin.jpg: ")
    assert (folder / "out" / os.fsdecode(b"l\xe4tin.overlay.png")).is_file()


def test_two_models_side_by_side(folder):
    done = predict("--compare", "mini-mask", "mini-linear", FIRST, "--json")
    (record,) = json.loads(done.stdout)["result"]
    label = {name: np.load(GOLDEN / "mini_zoo" / f"{name}_ss" / "ADE_val_00000001.npz")["pred"] for name in ("mask", "linear")}
    assert record["differ_percent"] == round(100 * float((label["mask"] != label["linear"]).mean()), 2) > 0
    assert set(record["shares"]) == {"mini-mask", "mini-linear"}
    with Image.open(folder / record["compared"]) as picture:
        assert picture.width > 3 * record["width"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("mini-mask",), 2, "no image named\nhint: segzoo predict MODEL IMAGE..., where - reads a list of images from stdin"),
        (("mini-mask", "-"), 2, "the list of images on stdin is empty"),
        (("mini-mask", "nowhere.jpg"), 7, "nowhere.jpg: no such image"),
        (("mini-mask", "*.jpg"), 7, "*.jpg: no images there"),
        (("mini-mosk", FIRST), 7, "did you mean mini-mask?"),
        (("mini-vit", FIRST), 2, "mini-vit is a backbone"),
        (("mini-mask", MINI / "zoo.yaml"), 8, "zoo.yaml: not a readable image"),
        ((MINI / "mini.tame.npz", FIRST), 5, "a backbone without a head"),
        ((GOLDEN / "segmenter" / "mask.pth", FIRST), 5, "like no model of this zoo"),
        (("mini-mask", FIRST, FIRST.parent, FIRST), 0, ""),
    ],
)
def test_what_cannot_be_is_said(arguments, code, said, folder):
    done = predict(*arguments)
    assert done.exit_code == code, done.output
    assert said in done.output


def test_images_of_one_name_do_not_overwrite_each_other(folder):
    for name in ("one/a.jpg", "two/a.jpg", "one/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(FIRST, folder / name)
    with Image.open(FIRST) as image:
        image.save(folder / "one" / "b.png")
    assert predict("mini-linear", "one", "-o", "out").exit_code == 0
    assert {path.name.split(".")[0] for path in (folder / "out").iterdir()} == {"a", "b_jpg", "b_png"}
    clash = predict("mini-linear", "one", "two", "-o", "out")
    assert clash.exit_code == 2
    assert "one/a.jpg and two/a.jpg: the pictures of both would be out/a_jpg.*" in clash.output
    assert "hint: segment them in two runs" in clash.output
    assert "-o DIR" in clash.output


def broken_among(folder):
    """A folder with an image, one that is cut short, and another."""
    (folder / "photos").mkdir()
    shutil.copy(FIRST, folder / "photos" / "a.jpg")
    (folder / "photos" / "b.jpg").write_bytes(FIRST.read_bytes()[:300])
    shutil.copy(FIRST, folder / "photos" / "c.jpg")
    return folder / "photos"


@pytest.mark.parametrize("models", [("mini-linear",), ("--compare", "mini-linear", "mini-mask")])
def test_a_broken_image_does_not_keep_the_others_from_being_segmented(models, folder):
    done = predict(*models, broken_among(folder), "-o", "out")
    assert done.exit_code == 8
    assert {path.name.split(".")[0] for path in (folder / "out").iterdir()} == {"a", "c"}
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["a.jpg", "c.jpg"]
    assert f"error: {folder}/photos/b.jpg: not a readable image" in done.stderr
    assert "data set" not in done.stderr
    assert done.stderr.endswith("2 of 3 images done; pictures in out/\n")


def test_what_the_system_does_not_give_is_not_said_to_be_damaged(folder):
    (folder / "folder.jpg").mkdir()
    shutil.copy(FIRST, folder / "._hidden.jpg")
    shutil.copy(FIRST, folder / "seen.jpg")
    done = predict("mini-linear", folder)
    assert (done.exit_code, done.stdout.count("\n")) == (0, len([one for one in folder.glob("[!.]*.jpg") if one.is_file()]))
    with pytest.raises(EnvironmentFault, match=r"folder\.jpg: not a readable image: Is a directory$") as caught:
        read_image(folder / "folder.jpg")
    assert caught.value.hint is None
    (folder / "page.jpg").write_text("<html>")
    with pytest.raises(EnvironmentFault, match=r"page\.jpg: not a readable image: in no format that Pillow knows$"):
        read_image(folder / "page.jpg")


def test_an_image_too_thin_to_be_seen_is_one_that_is_left_out(folder):
    Image.new("RGB", (3000, 3)).save(folder / "thin.png")
    done = predict("mini-linear", "thin.png", FIRST, "-o", "out")
    assert done.exit_code == 8
    assert "error: thin.png: too thin: 3000x3 pixels would be resized to 256x0" in done.stderr
    assert done.stderr.endswith("1 of 2 images done; pictures in out/\n")
    alone = predict("mini-linear", "thin.png", "-o", "none")
    assert alone.stderr.endswith("0 of 1 image done\n")


def test_on_a_terminal_results_stand_above_the_bar(folder):
    mine, theirs = pty.openpty()
    for number in range(4):
        shutil.copy(FIRST, folder / f"image{number}.jpg")
    command = [sys.executable, "-m", "segzoo", "--zoo", "mini", "predict", "mini-linear", *(f"image{number}.jpg" for number in range(4))]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"}) as live:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(mine, 4096):
                shown += chunk
        os.close(mine)
        assert live.wait(timeout=60) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "images \u2501" in plain
    assert [plain[found.start() - 1] in "\r\n" for found in re.finditer(r"image\d\.jpg: ", plain)] == [True] * 4


def test_two_models_differences_have_the_same_decimals_however_large(folder):
    done = predict("--compare", "mini-linear", "mini-linear", FIRST)
    assert done.stdout == f"{FIRST.name}: they differ in 0.00 %\n"


def converted(tmp_path, name, to, suffix):
    path = tmp_path / f"mine{suffix}"
    segzoo.convert(MINI / ZOO.models[name].checkpoint.name, path, to=to)
    return path


@pytest.mark.parametrize("name", ["mini-mask", "mini-linear"])
@pytest.mark.parametrize(("to", "suffix"), [("mmseg", ".safetensors"), ("segmenter", ".pth")])
def test_a_file_of_ones_own_gives_what_the_zoos_gives(to, suffix, name, tmp_path):
    mine = loaded(converted(tmp_path, name, to, suffix), open_zoo("mini"))
    assert mine.like == name
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mine.module(image), segzoo.load(name, zoo="mini")(image))


def test_where_several_models_are_alike_it_must_be_said_which(tmp_path):
    zoo = open_zoo("mini")
    twin = {**zoo.manifest.models, "twin": zoo.manifest.models["mini-mask"]}
    zoo = zoo.__class__(**{**vars(zoo), "manifest": zoo.manifest.model_copy(update={"models": twin})})
    path = MINI / ZOO.models["mini-mask"].checkpoint.name
    assert loaded(path, zoo).like == "mini-mask"  # nothing depends on which
    other = zoo.manifest.models["mini-mask"].model_copy(update={"head": zoo.manifest.models["mini-mask"].head.model_copy(update={"eps": 1e-4})})
    zoo = zoo.__class__(**{**vars(zoo), "manifest": zoo.manifest.model_copy(update={"models": {**twin, "twin": other}})})
    assert loaded(path, zoo, "twin").like == "twin"
    mine = converted(tmp_path, "mini-mask", "mmseg", ".safetensors")
    for file in (path, mine):
        with pytest.raises(UsageError, match="like mini-mask and like twin") as raised:
            loaded(file, zoo)
    assert "they differ in facts that no tensor shows: choose one with --like NAME" in raised.value.hint
    assert loaded(mine, zoo, "twin").like == "twin"
    with pytest.raises(ConversionError, match="not like mini-linear"):
        loaded(path, zoo, like="mini-linear")


def test_the_library_gives_modules_and_state_dicts():
    module = segzoo.load("mini-mask", zoo="mini")
    assert not module.training
    with torch.no_grad():
        assert module(torch.zeros(2, 3, 50, 64)).shape == (2, 8, 50, 64)
    expected = np.load(GOLDEN / "augreg" / "mini.tame.timm_state_dict.npz")
    found = segzoo.backbone("mini-vit", zoo="mini")
    assert found.keys() == set(expected.files)
    assert all(np.array_equal(found[key].numpy(), expected[key]) for key in found)
    of_a_model = segzoo.backbone("mini-mask", "mmseg", zoo="mini")
    assert "cls_token" in of_a_model
    assert not any("decode" in key for key in of_a_model)
    with pytest.raises(NotFoundError, match="did you mean mini-vit"):
        segzoo.backbone("mini-vot", zoo="mini")
    with pytest.raises(UsageError, match="is a backbone"):
        loaded("mini-vit", open_zoo("mini"))


def test_a_legend_of_many_classes_counts_what_does_not_fit():
    classes = {f"class {index}": (index, index, index) for index in range(40)}
    short = legend({name: [40.0 - index] for index, name in enumerate(classes)}, classes, 100)
    tall = legend({name: [40.0 - index] for index, name in enumerate(classes)}, classes, 2000)
    assert short.height < 230 < tall.height


def test_other_names_for_other_numbers_agree():
    from segzoo.evaluation.prediction import Prediction

    one, other = {"a": (0, 0, 0), "b": (9, 9, 9)}, {"b": (9, 9, 9), "a": (0, 0, 0)}
    pair = [Prediction(np.array([[0, 1]], np.uint8), {}, {}), Prediction(np.array([[1, 0]], np.uint8), {}, {})]
    assert disagreement(pair, [one, other]) == 0
    assert disagreement(pair, [one, one]) == 100
    assert index_map(pair[0].labels, one).getpalette()[:6] == [0, 0, 0, 9, 9, 9]


def test_the_library_fetches_and_evaluates():
    assert segzoo.fetch("mini-vit", zoo="mini").read_bytes() == (MINI / "mini.tame.npz").read_bytes()
    with pytest.raises(NotFoundError, match="did you mean mini-vit"):
        segzoo.fetch("mini-vot", zoo="mini")
    facts = segzoo.evaluate("mini-linear", zoo="mini", modes=("ss", "whole"))
    assert facts["modes"]["ss"]["measured"] == {"aAcc": 95.71, "mIoU": 86.71, "mAcc": 92.78}
    assert facts["modes"]["ss"]["verdict"] == "confirmed"
    assert facts["modes"]["whole"]["verdict"] is None
    few = segzoo.evaluate("mini-linear", zoo="mini", images=2, modes="ss")
    assert list(few["modes"]) == ["ss"]
    assert (few["images"], len(few["modes"]["ss"]["per_image"])) == (2, 2)
    with pytest.raises(EnvironmentFault, match=r"mini-linear: mIoU: .*no such folder"):
        segzoo.evaluate("mini-linear", zoo="mini", data="nowhere")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"modes": "ms+flip2"}, r"no mode 'ms\+flip2'; there are ss, ms\+flip, ms\+flip-1.x, whole"),
        ({"modes": ("ss", "ms")}, "no mode 'ms'"),
        ({"modes": ()}, "no mode to measure in"),
        ({"precision": "half"}, "no precision 'half'; there are fp32, tf32, bf16, fp16"),
        ({"images": 0}, "images: expected a positive number, or None for all, found 0"),
        ({"images": -3}, "found -3"),
        ({"images": "all"}, "found 'all'"),
        ({"name": "mini-vit"}, "mini-vit is a backbone: it has no mIoU"),
    ],
)
def test_what_cannot_be_evaluated_is_said(wrong, said):
    with pytest.raises(UsageError, match=said):
        segzoo.evaluate(**{"name": "mini-linear", "zoo": "mini", **wrong})


def test_what_the_library_raises_is_of_the_rung_that_failed(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab")
    text = (lab / "zoo.yaml").read_text()
    (lab / "zoo.yaml").write_text(text.replace("miou: 86.71", "miou: 90.0"))
    with pytest.raises(AccuracyError, match="refuted") as caught:
        segzoo.evaluate("mini-linear", zoo=lab / "zoo.yaml")
    assert caught.value.hint == "what was measured is in this error's facts"
    facts = pickle.loads(pickle.dumps(caught.value)).facts  # hours of work may come from another process
    assert (facts["images"], facts["modes"]["ss"]["verdict"], facts["modes"]["ss"]["measured"]["mIoU"]) == (40, "refuted", 86.71)
    assert len(facts["modes"]["ss"]["per_image"]) == 40
    (lab / "zoo.yaml").write_text(text.replace("depth: 3, heads: 2, mlp: 512", "depth: 4, heads: 2, mlp: 512"))
    with pytest.raises(ConversionError, match="names: geometry differs from the manifest: depth 3, expected 4"):
        segzoo.evaluate("mini-linear", zoo=lab / "zoo.yaml")
    (lab / "zoo.yaml").write_text(text.replace("    path: ade_mini\n", ""))
    with pytest.raises(EnvironmentFault, match="data set ade-mini is not here"):
        segzoo.evaluate("mini-linear", zoo=lab / "zoo.yaml")


@pytest.mark.parametrize("name", ["decode_head.cls_emb", "backbone.layers.1.ln1.weight"])
def test_weights_that_are_not_finite_are_no_model(name, tmp_path):
    tensors = {key: np.array(array) for key, array in segzoo.open(MINI / ZOO.models["mini-mask"].checkpoint.name).items()}
    tensors[name][..., 0] = np.nan
    torch.save({key: torch.from_numpy(array) for key, array in tensors.items()}, tmp_path / "nan.pth")
    for use in (
        lambda: segzoo.load(tmp_path / "nan.pth", zoo="mini"),
        lambda: segzoo.export(tmp_path / "nan.pth", tmp_path / "out", form="safetensors", zoo="mini"),
    ):
        with pytest.raises(ConversionError, match=f"not finite: {name}") as caught:
            use()
        assert "the training diverged, or the file is damaged" in caught.value.hint
    assert not (tmp_path / "out").exists()
    assert (
        CliRunner().invoke(main, ["--zoo", "mini", "manifest", "add", str(tmp_path / "nan.pth"), "--to", str(tmp_path / "own.yaml")]).exit_code == 0
    )
    done = CliRunner().invoke(main, ["--zoo", str(tmp_path / "own.yaml"), "verify", "nan"])
    assert done.exit_code == 5
    assert f"nan: round trip: failed: not finite: {name}" in done.stdout
