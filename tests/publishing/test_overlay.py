"""`segzoo predict` and `segzoo.load`: what users see of a model, from the zoo and from files of their own."""

import csv
import json
import os
import pickle
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI

import segzoo
from segzoo.cli import main
from segzoo.datasets.image import read_image
from segzoo.errors import AccuracyError, ConversionError, EnvironmentFault, NotFoundError, UsageError
from segzoo.manifest.document import load_manifest, packaged
from segzoo.publishing.compare import disagreement, pairing, side_by_side
from segzoo.publishing.label_map import fitting, index_map, server_map
from segzoo.publishing.legend import legend
from segzoo.publishing.overlay import Prediction, overlay
from segzoo.publishing.reduced import reduced, reduced_labels, reduction
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
    with Image.open(folder / record["overlay"]) as drawn, Image.open(FIRST) as image:
        tint = 0.4 * np.array(image.convert("RGB"), float) + 0.6 * np.array(list(CLASSES.values()), float)[expected]
        assert np.abs(np.array(drawn)[: image.height, : image.width] - tint).max() <= 1
        assert image.width < drawn.width <= 2 * image.width + 6  # the legend beside it
        assert drawn.height == image.height


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
        ((GOLDEN / "segmenter" / "mask.pth", FIRST), 2, "like no model of this zoo"),
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
    both = "all images" if len(models) == 1 else "all images by mini-linear"
    assert [line.split(":")[0] for line in done.stdout.splitlines()][:3] == ["a.jpg", "c.jpg", both]
    assert f"error: {folder}/photos/b.jpg: not a readable image" in done.stderr
    assert "data set" not in done.stderr
    assert done.stderr.endswith("2 of 3 images done; pictures in out/\n")


def test_a_stranger_s_picture_ends_no_run_and_is_said_in_its_own_words(folder):
    """EPS, for which Pillow would start Ghostscript; a bomb; a damaged TIFF; and then two good ones."""
    photos = folder / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    Image.new("1", (16000, 16000)).save(photos / "b.png")
    Image.new("L", (64, 64)).save(photos / "c.tif", compression="tiff_lzw")
    (photos / "c.tif").write_bytes((photos / "c.tif").read_bytes().replace(b"\x80", b"\x01"))
    shutil.copy(FIRST, photos / "d.jpg")
    Image.open(FIRST).save(photos / "e.gif", save_all=True, append_images=[Image.open(FIRST).rotate(90)])
    done = predict("mini-linear", *sorted(photos.iterdir()), "-o", "out")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split("photos/")[1].split(": ")[0] for line in errors] == ["a.jpg", "b.png", "c.tif"]
    assert "a.jpg: not a readable image: EPS inside, not JPEG, PNG" in errors[0]
    assert "b.png: not a readable image: 16000x16000 pixels in a file of only" in errors[1]
    assert done.exit_code == 8
    assert {path.name for path in (folder / "out").iterdir()} == {"d.labels.png", "d.overlay.png", "e.labels.png", "e.overlay.png"}
    assert "e.gif: it has several pictures: only the first is read\n" in done.stderr
    assert done.stderr.endswith("2 of 5 images done; pictures in out/\n")


def test_what_the_system_does_not_give_is_not_said_to_be_damaged(folder):
    (folder / "folder.jpg").mkdir()
    shutil.copy(FIRST, folder / "._hidden.jpg")
    shutil.copy(FIRST, folder / "seen.jpg")
    done = predict("mini-linear", folder)
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert "skipped 1: 1 hidden file\n" in done.stderr
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


@pytest.mark.slow
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
    assert (short.height, tall.height) == (100, 2000)


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


def colours(count):
    """Different ones."""
    return [(index % 256, index // 256, 200) for index in range(count)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A zoo whose models have 300 classes: the mini zoo's linear head, with its eight classes at other places; the others never win.

    `apart` has its eight at the last places, and `turned` calls its classes the other way round.
    """
    folder = tmp_path_factory.mktemp("many")
    plain = yaml.safe_load((MINI / "zoo.yaml").read_text())
    weights = segzoo.open(MINI / ZOO.models["mini-linear"].checkpoint.name)
    names = [f"thing {index}" for index in range(300)]
    entry = plain["models"]["mini-linear"]
    models, datasets = {}, {}
    for name, places, called in (("apart", LAST, names), ("turned", [299 - place for place in LAST], names[::-1]), ("odd", range(8), ["x", "y"])):
        tensors = {key: torch.from_numpy(np.array(array)) for key, array in weights.items()}
        for part in ("weight", "bias"):
            old = tensors[f"decode_head.conv_seg.{part}"]
            new = torch.zeros(300, *old.shape[1:])
            new[list(places)] = old
            if part == "bias":
                new[[index for index in range(300) if index not in places]] = -1e6
            tensors[f"decode_head.conv_seg.{part}"] = new
        torch.save(tensors, folder / f"{name}.pth")
        classes = dict(zip([*called, *(f"other {index}" for index in range(300 - len(called)))], map(list, colours(300)), strict=True))
        datasets[f"set-{name}"] = {**plain["datasets"]["ade-mini"], "classes": classes}
        checkpoint = {"name": f"{name}.pth", "layout": "mmseg", "urls": [f"{name}.pth"]}
        protocol = {**entry["protocol"], "dataset": f"set-{name}"}
        models[name] = {
            "title": name,
            "checkpoint": checkpoint,
            "backbone": entry["backbone"],
            "head": {"kind": "linear", "classes": 300},
            "protocol": protocol,
        }
    written(folder / "zoo.yaml", {"version": 1, "datasets": datasets, "models": models})
    return folder / "zoo.yaml"


def written(path, plain):
    """YAML without aliases, which a manifest must not have."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(plain)), sort_keys=False))


LAST = [41, 255, 256, 257, 290, 297, 298, 299]


def predict_many(many, *arguments):
    return CliRunner().invoke(main, ["--zoo", str(many), "predict", *map(str, arguments), "--device", "cpu"])


def golden_labels(name="linear"):
    with Image.open(FIRST) as image:
        return np.load(GOLDEN / "mini_zoo" / f"{name}_ss" / "ADE_val_00000001.npz")["pred"].reshape(image.height, image.width)


def test_label_maps_of_more_than_255_classes_have_16_bits(many, folder):
    done = predict_many(many, "apart", FIRST, "--json", "-o", "out")
    assert done.exit_code == 0, done.output
    (record,) = json.loads(done.stdout)["result"]
    expected = np.array(LAST)[golden_labels()]
    with Image.open(record["labels"]) as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.array(image), expected)
    assert record["shares"].keys() == {f"thing {index}" for index in np.unique(expected)}
    with Image.open(record["overlay"]) as drawn, Image.open(FIRST) as image:
        tint = 0.4 * np.array(image.convert("RGB"), float) + 0.6 * np.array(colours(300), float)[expected]
        assert np.abs(np.array(drawn)[: image.height, : image.width] - tint).max() <= 1


def test_models_are_compared_by_the_names_of_their_classes(many, folder):
    (record,) = json.loads(predict_many(many, "--compare", "apart", "turned", FIRST, "--json").stdout)["result"]
    assert record["differ_percent"] == 0
    assert record["shares"]["apart"] == record["shares"]["turned"]
    refused = predict_many(many, "--compare", "apart", "odd", FIRST)
    assert refused.exit_code == 2
    assert "their classes, 300 and 300, have no names in common" in refused.output


def test_exactly_256_classes_need_16_bits_too():
    labels = np.array([[0, 255]], np.uint16)
    named = {f"c{index}": colour for index, colour in enumerate(colours(256))}
    assert index_map(labels, named).mode == "I;16"
    assert np.array(index_map(labels, named)).tolist() == [[0, 255]]
    assert index_map(labels[:, :1], dict(list(named.items())[:255])).mode == "P"


def test_labels_beyond_255_are_counted_and_255_is_a_class(many):
    labels = np.array(LAST)[golden_labels()]
    ade = many.parent / "set"
    for part in ("images", "annotations"):
        (ade / part / "validation").mkdir(parents=True)
    shutil.copy(FIRST, ade / "images" / "validation")
    labels[0, :5] = -1  # 0 in the file: no class
    Image.fromarray((labels + 1).astype(np.uint16)).save(ade / "annotations" / "validation" / "ADE_val_00000001.png")
    plain = yaml.safe_load(many.read_text())
    for dataset in plain["datasets"].values():
        dataset.update(images=1, path="set")
    written(many.parent / "one.yaml", plain)
    facts = segzoo.evaluate("apart", zoo=many.parent / "one.yaml", modes="ss")["modes"]["ss"]
    assert facts["measured"]["aAcc"] == 100
    assert sum(map(sum, facts["confusion"])) == labels.size - 5


def test_pairs_of_classes():
    ade, city, none = ({name: (0, 0, 0) for name in names.split()} for names in ("road car sky", "car sky building person", "x y z"))
    unnamed, more = ({f"class {index}": (0, 0, 0) for index in range(count)} for count in (3, 4))
    assert pairing([ade, dict(reversed(ade.items()))]) is None
    assert pairing([ade, city]) == "2 of 3 and 4 classes have the same name in both; where either sees another one, they differ"
    assert "have no names in either" in pairing([unnamed, unnamed])
    for one, other in ((ade, none), (ade, unnamed), (unnamed, more)):
        with pytest.raises(UsageError, match="no names in common"):
            pairing([one, other])


@pytest.mark.parametrize("models", [("mini-linear",), ("--compare", "mini-linear", "mini-mask")])
def test_a_picture_that_cannot_be_made_loses_neither_the_label_map_nor_later_images(models, folder):
    kind = "overlay" if len(models) == 1 else "compared"
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(FIRST, folder / name)
    (folder / "out" / f"a.{kind}.png").mkdir(parents=True)
    done = predict(*models, "a.jpg", "b.jpg", "-o", "out", "--json")
    assert done.exit_code == 8
    first, second, *_ = valid(done)
    assert f"a.{kind}.png: not made" in first["error"]["message"]
    assert (folder / second[kind]).is_file()
    assert kind not in first
    if len(models) == 1:
        with Image.open(folder / first["labels"]) as labels:
            assert np.array_equal(np.array(labels), golden_labels())


def test_every_file_of_a_folder_is_accounted_for_and_the_folder_mirrored(folder):
    for name in ("photos/a.jpg", "photos/in/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FIRST, folder / name)
    (folder / "photos" / "paper.pdf").touch()
    (folder / "photos" / ".git").mkdir()
    done = predict("mini-linear", "photos", "-o", "photos/out")
    assert done.exit_code == 0
    assert {str(path.relative_to(folder / "photos" / "out")) for path in (folder / "photos" / "out").rglob("*.labels.png")} == {
        "a.labels.png",
        "in/a.labels.png",
    }
    assert done.stderr.endswith("skipped 2: 1 PDF, 1 folder\n2 images segmented; pictures in photos/out/\n")
    again = predict("mini-linear", "photos", "-o", "photos/out", "--json")  # what was made is not segmented again
    *images, total, skipped = valid(again)
    assert (len(images), total["images"], skipped["skipped"]) == (2, 2, {"PDF": 1, "folder": 2})


def valid(done):
    """The result of an answer in JSON, which the published schema describes."""
    answer = json.loads(done.stdout)
    jsonschema.validate(answer["result"], {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/predict"})
    return answer["result"]


SCHEMA = json.loads(packaged("output.schema.json").read_text())


def test_csv_and_totals(folder):
    second = PHOTOS / "ADE_val_00000002.jpg"
    done = predict("mini-linear", FIRST, second, "--csv", "-o", "out")
    table = list(csv.DictReader(done.stdout.splitlines()))
    counts = np.zeros(8, np.int64)
    for path in (FIRST, second):
        with Image.open(folder / "out" / f"{path.stem}.labels.png") as image:
            each = np.bincount(np.array(image).ravel(), minlength=8)
        counts += each
        assert {(int(row["index"]), int(row["pixels"])) for row in table if row["image"] == str(path)} == {
            (index, each[index]) for index in each.nonzero()[0]
        }
    whole = [row for row in table if row["image"] == "all images"]
    assert [int(row["pixels"]) for row in whole] == sorted(counts[counts > 0], reverse=True)
    assert [float(row["percent"]) for row in whole] == [round(100 * one / counts.sum(), 4) for one in sorted(counts[counts > 0], reverse=True)]
    assert {row["class"] for row in whole} == {list(CLASSES)[index] for index in counts.nonzero()[0]}
    *_, total = valid(predict("mini-linear", FIRST, second, "--json", "-o", "out"))
    assert (total["images"], total["pixels"]) == (2, counts.sum())
    assert list(total["shares"].values()) == [round(100 * one / counts.sum(), 2) for one in sorted(counts[counts > 0], reverse=True)]


def test_files_for_benchmark_servers(folder):
    (folder / "testing").mkdir()
    shutil.copy(FIRST, folder / "testing" / "ADE_test_00000001.jpg")
    done = predict("mini-linear", "testing", "--as", "ade20k", "-o", "sent")
    assert (done.exit_code, [path.name for path in (folder / "sent").iterdir()]) == (0, ["ADE_test_00000001.png"])
    assert "its server expects 150 classes, and the model has 8" in done.stderr
    with Image.open(folder / "sent" / "ADE_test_00000001.png") as image:
        assert image.mode == "L"
        assert np.array_equal(np.array(image), golden_labels() + 1)
    refused = predict("mini-linear", "testing", "--as", "cityscapes", "-o", "none")
    assert (refused.exit_code, (folder / "none").exists()) == (2, False)
    assert predict("--compare", "mini-linear", "mini-mask", "testing", "--as", "ade20k").exit_code == 2


# cityscapesScripts, `helpers/labels.py`: id by trainId.
CITY = {0: 7, 1: 8, 2: 11, 3: 12, 4: 13, 5: 17, 6: 19, 7: 20, 8: 21, 9: 22, 10: 23, 11: 24, 12: 25, 13: 26, 14: 27, 15: 28, 16: 31, 17: 32, 18: 33}


def test_cityscapes_takes_label_ids_in_its_own_order_of_classes():
    ours = load_manifest(packaged("zoo.yaml")).datasets["cityscapes"].classes
    assert fitting("cityscapes", ours) is None
    assert np.array(server_map(np.arange(19, dtype=np.uint16)[None], "cityscapes", 19)).tolist() == [list(CITY.values())]
    with pytest.raises(UsageError, match="class 0 of the model is bicycle, and that of the benchmark is road"):
        fitting("cityscapes", dict(reversed(ours.items())))
    assert "other names" in fitting("cityscapes", {f"class {index}": (0, 0, 0) for index in range(19)})
    with pytest.raises(UsageError, match="expects 150 classes, and the model has 300"):
        fitting("ade20k", {f"class {index}": (0, 0, 0) for index in range(300)})


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (40, 60), (512, 683), (900, 3000), (1500, 1500), (3000, 1000)])
def test_a_legend_grows_with_its_picture_and_never_beyond_it(size, original):
    named = {f"class with a long name {index}": (index, index, index) for index in range(150)}
    shares = {name: 100 / 150 for name in named}
    column = legend({name: [share] for name, share in shares.items()}, named, *size)
    assert column.height == size[0]
    assert column.width <= size[1]
    image = np.zeros((*size, 3), np.uint8)
    drawn = overlay(image, Prediction(np.zeros(size, np.uint16), shares, named), named, original)
    k = reduction(size, 1 + original)
    assert drawn.height == size[0] // k
    assert drawn.width <= (2 + original) * (size[1] // k) + 12
    compared = side_by_side(image, [Prediction(np.zeros(size, np.uint16), shares, named)] * 2, ["a" * 99, "b"], [named, named])
    assert compared.width <= 4 * size[1] + 18


def test_letters_beside_a_large_picture_are_larger():
    rows = {name: [50.0] for name in CLASSES}
    small, large = (np.array(legend(rows, CLASSES, side, side).convert("L")) for side in (512, 4096))
    dark = [np.flatnonzero((one < 128).any(1)).max() + 1 for one in (small, large)]
    assert 7 < dark[1] / dark[0] < 9


def test_a_huge_picture_is_drawn_smaller_and_that_is_said(folder):
    Image.new("RGB", (2600, 2000), (9, 99, 199)).save("huge.png")
    done = predict("mini-linear", "huge.png", "-o", "out")
    assert "huge.png: 2600x2000 pixels: its picture is drawn at 1/2 of that" in done.stderr
    with Image.open(folder / "out" / "huge.overlay.png") as drawn, Image.open(folder / "out" / "huge.labels.png") as labels:
        assert (drawn.height, labels.size) == (1000, (2600, 2000))


def test_a_reduced_picture_is_the_mean_of_its_pixels_and_the_class_in_their_middle():
    image = np.random.default_rng(0).integers(0, 256, (11, 16, 3), np.uint8)
    expected = np.floor(image[:9, :15].reshape(3, 3, 5, 3, 3).mean((1, 3)) + 0.5)
    assert np.array_equal(reduced(image, 3), expected)
    assert np.array_equal(reduced_labels(image[..., 0], 3), image[1:9:3, 1:15:3, 0])
    assert reduction((10000, 10000), 1) == 3
    assert reduction((512, 683), 1) == reduction((1080, 1920), 1) == 1
