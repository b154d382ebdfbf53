"""`segzoo data check`: what it says of a data set, the pictures, and the entry that it proposes, which works."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import MINI

from segzoo.cli import main
from segzoo.datasets.arrangement import arranged
from segzoo.errors import EnvironmentFault
from segzoo.manifest.document import load_manifest

SIZE = (6, 9)


def photo(path, seed=0):
    """An image of many colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def label(path, values=(0, 1, 2), colours=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.resize(np.array(values, np.uint8 if max(values) < 256 else np.uint16), SIZE)
    Image.fromarray(np.array(colours, np.uint8)[pixels] if colours else pixels).save(path)


def check(*arguments, zoo="shipped"):
    return CliRunner().invoke(main, ["--zoo", zoo, "data", "check", *map(str, arguments)])


def facts(*arguments, zoo="shipped"):
    return json.loads(check(*arguments, "--json", zoo=zoo).stdout)["result"]


def tree(root, images, labels, **more):
    for index, name in enumerate(images):
        photo(root / name, index)
    for name in labels:
        label(root / name, **more)
    return root


ARRANGED = {
    "two folders": (["pics/a.png", "pics/b.jpg"], ["gt/a.png", "gt/b.png"], {"images": "pics", "labels": "gt"}, ("all",)),
    "splits below": (
        ["img/train/a.tif", "img/train/b.tif", "img/val/c.tif"],
        ["ann/train/a.png", "ann/train/b.png", "ann/val/c.png"],
        {"images": "img/{split}", "labels": "ann/{split}"},
        ("val", "train"),
    ),
    "splits above": (
        ["train/x/a.jpg", "train/x/b.jpg", "test/x/a.jpg"],
        ["train/y/a.png", "train/y/b.png", "test/y/a.png"],
        {"images": "{split}/x", "labels": "{split}/y"},
        ("test", "train"),
    ),
    "beside each other": (
        ["s/a.png", "s/b.png", "t/a.png"],
        ["s/a_mask.png", "s/b_mask.png", "t/a_mask.png"],
        {"images": ".", "image_suffix": None, "label_suffix": "_mask.png"},
        ("all",),
    ),
    "beside each other, of two suffixes": (["a.jpg", "b.jpg"], ["a.png", "b.png"], {"images": ".", "label_suffix": ".png"}, ("all",)),
    "endings, towns and splits": (
        ["left/val/u/u_1_left.png", "left/val/u/u_2_left.png", "left/val/v/v_1_left.png"],
        ["gt/val/u/u_1_gt_ids.png", "gt/val/u/u_2_gt_ids.png", "gt/val/v/v_1_gt_ids.png"],
        {"images": "left/{split}", "labels": "gt/{split}"},
        ("val",),
    ),
    "labels within": (["a.jpg", "b.jpg"], ["masks/a.png", "masks/b.png"], {"images": ".", "labels": "masks"}, ("all",)),
}


@pytest.mark.parametrize("name", ARRANGED)
def test_a_folder_is_understood_and_the_entry_for_it_works(name, tmp_path, monkeypatch):
    """What is proposed is pasted below `datasets:` as it is, and then checked by its name."""
    images, labels, settings, splits = ARRANGED[name]
    tree(tmp_path / "mine", images, labels)
    found = arranged(tmp_path / "mine")
    assert found.splits == splits
    assert {key: found.settings.get(key) for key in settings if settings[key]} == {key: value for key, value in settings.items() if value}
    shown = check(tmp_path / "mine")
    assert shown.exit_code == 0, shown.output
    entry = shown.stdout[shown.stdout.index("datasets:\n") :]
    (tmp_path / "zoo.yaml").write_text(f"version: 1\n{entry}")
    dataset = load_manifest(tmp_path / "zoo.yaml").datasets["mine"]
    assert sum(dataset.counts.values()) == len(images)
    monkeypatch.chdir(tmp_path)
    for split, count in dataset.counts.items():
        again = facts("mine", "--split", split, zoo="zoo.yaml")
        assert (again["pairs"], again["wrong"], again["entry"], len(again["classes"])) == (count, [], None, 3)


def test_a_list_of_the_images_with_labels(tmp_path):
    tree(tmp_path / "voc", [f"JPEGImages/{name}.jpg" for name in "abcde"], ["Masks/b.png", "Masks/d.png", "Masks/e.png"])
    lists = tmp_path / "voc" / "Sets"
    lists.mkdir()
    (lists / "val.txt").write_text("b\n")
    (lists / "train.txt").write_text("d\ne\n")
    (tmp_path / "voc" / "readme.txt").write_text("nothing of the kind\n")
    found = arranged(tmp_path / "voc")
    assert (found.settings["list"], found.splits) == ("Sets/{split}.txt", ("val", "train"))
    assert facts(tmp_path / "voc")["pairs"] == 1


@pytest.mark.parametrize(
    ("values", "rule", "classes"),
    [
        ((0, 1, 2), "{from: 0}", 3),
        ((0, 1, 2, 255), "{from: 0, ignore: [255]}", 3),
        ((1, 2, 3), "{from: 1}", 3),
        ((1, 2, 255), "{from: 1, ignore: [255]}", 2),
        ((0, 255), "{values: {0: class 0, 255: class 1}}", 2),
        ((0, 7, 30), "{values: {0: class 0, 7: class 1, 30: class 2}}", 3),
        ((7, 8, 255), "{values: {7: class 0, 8: class 1}, ignore: [255]}", 2),
        ((0, 299, 65535), "{values: {0: class 0, 299: class 1}, ignore: [65535]}", 2),
    ],
)
def test_the_rule_is_proposed_from_the_values_and_works(values, rule, classes, tmp_path):
    tree(tmp_path / "mine", ["i/a.png"], ["l/a.png"], values=values)
    found = facts(tmp_path / "mine")
    assert f"labels: {rule}\n" in found["entry"]
    assert (len(found["classes"]), found["wrong"]) == (classes, [])
    (tmp_path / "zoo.yaml").write_text(f"version: 1\ndatasets:\n{found['entry']}")
    again = facts("mine", zoo=str(tmp_path / "zoo.yaml"))
    assert (again["wrong"], again["values"]) == ([], found["values"])


def test_colours_are_proposed_as_classes_and_work(tmp_path):
    tree(tmp_path / "mine", ["i/a.png"], ["l/a.png"], colours=[[0, 0, 0], [128, 64, 128], [0, 0, 142]])
    found = facts(tmp_path / "mine")
    assert "labels: {colours: true}" in found["entry"]
    assert [row["value"] for row in found["values"]] == ["#000000", "#00008e", "#804080"]
    (tmp_path / "zoo.yaml").write_text(f"version: 1\ndatasets:\n{found['entry']}")
    assert facts("mine", zoo=str(tmp_path / "zoo.yaml"))["wrong"] == []


def test_other_label_maps_of_the_same_images_are_told(tmp_path):
    tree(tmp_path / "city", ["i/a_rgb.png", "i/b_rgb.png"], ["l/a_ids.png", "l/b_ids.png"])
    for name in ("l/a_color.png", "l/b_color.png"):
        label(tmp_path / "city" / name, colours=[[0, 0, 0], [128, 64, 128], [0, 0, 142]])
    entry = facts(tmp_path / "city")["entry"]
    assert "images: i, labels: l," in entry  # not the coloured label maps, which lie beside those of indices
    assert "label_suffix: _ids.png" in entry
    assert "_color.png" in entry.split("folders:")[0]


def test_a_damaged_picture_does_not_hide_the_others(tmp_path):
    tree(tmp_path / "mine", ["i/a.png", "i/b.png", "i/c.png"], ["l/a.png", "l/b.png", "l/c.png"])
    (tmp_path / "mine" / "i" / "a.png").write_bytes(b"none")
    assert [one["message"].split(": ")[1] for one in facts(tmp_path / "mine")["wrong"]] == ["not a readable image"]
    (tmp_path / "mine" / "l" / "b.png").write_bytes(b"none")
    done = check(tmp_path / "mine")
    assert (done.exit_code, "l/b.png: not a readable label map" in done.stderr) == (8, True), done.output


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ([], [], "no images below it"),
        (["a.png", "b.png"], [], "no images with label maps of the same names"),
        (["i/a.png"], ["l/b.png"], "no images with label maps of the same names"),
    ],
)
def test_a_folder_that_holds_no_data_set(images, labels, said, tmp_path):
    (tmp_path / "mine").mkdir()
    tree(tmp_path / "mine", images, labels)
    with pytest.raises(EnvironmentFault, match=said):
        arranged(tmp_path / "mine")
    assert check(tmp_path / "mine").exit_code == 8


def test_what_is_in_the_mini_zoos_data_set():
    """Counted by hand with numpy."""
    raw = [np.array(Image.open(path)) for path in (MINI / "ade_mini" / "annotations" / "validation").glob("*.png")]
    pixels = np.bincount(np.concatenate([one.ravel() for one in raw]), minlength=9)
    found = facts("ade-mini", zoo="mini")
    assert [row["pixels"] for row in found["values"]] == pixels.tolist()
    assert [row["value"] for row in found["values"]] == [str(value) for value in range(9)]
    assert found["values"][0]["means"] == "ignored"
    assert [row["pixels"] for row in found["classes"]] == pixels[1:].tolist()
    assert [row["images"] for row in found["classes"]] == [sum((one == value).any() for one in raw) for value in range(1, 9)]
    assert found["ignored_percent"] == round(100 * pixels[0] / pixels.sum(), 4)
    assert (found["images"], found["pairs"], found["label_modes"], found["image_modes"]) == (40, 40, {"PNG L": 40}, {"JPEG RGB": 40})
    sizes = sorted({one.shape[::-1] for one in raw}, key=lambda size: size[0] * size[1])
    assert (found["sizes"]["smallest"], found["sizes"]["largest"]) == (list(sizes[0]), list(sizes[-1]))
    assert facts(MINI / "ade_mini", "--like", "ade-mini", zoo="mini")["values"] == found["values"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "mine", [f"i/{name}.png" for name in "abc"], [f"l/{name}.png" for name in "abc"], values=(0, 1, 2, 255))
    (tmp_path / "zoo.yaml").write_text(
        "version: 1\ndatasets:\n  mine: {title: M, loader: folders, root: mine, path: mine, split: all, images: 3, folders: {images: i, labels: l},"
        " labels: {from: 0, ignore: [255]}, classes: {a: [200, 0, 0], b: [0, 200, 0], c: [0, 0, 200]}}\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda here: label(here / "l/b.png", (0, 1, 9)), ["labels 9 are neither a class nor ignored: 18 pixels in all, of 3 label maps"]),
        (lambda here: Image.new("L", (3, 3)).save(here / "l/b.png"), ["b.png: 3x3 pixels, its image has 9x6"]),
        (lambda here: (here / "i/b.png").write_bytes(b"none"), ["b.png: not a readable image"]),
        (lambda here: (here / "l/b.png").write_bytes(b"none"), ["b.png: not a readable label map"]),
        (lambda here: (here / "l/b.png").unlink(), ["labels are missing for 1 of 3 images"]),
        (lambda here: [(here / "l/b.png").unlink(), (here / "i/b.png").unlink()], ["expected 3 images in 'all', found 2"]),
        (
            lambda here: [(here / "l/b.png").unlink(), label(here / "l/c.png", (0, 1, 7))],
            ["labels are missing for 1 of 3 images", "labels 7 are neither"],
        ),
        (lambda here: [label(here / f"l/{name}.png", (1, 1)) for name in "abc"], ["all labels are of one class, 'b', of 3"]),
    ],
)
def test_everything_that_does_not_fit_is_said(harm, said, mine):
    harm(mine / "mine")
    done = check("mine", "--pictures", "seen", zoo="zoo.yaml")
    assert done.exit_code == 8, done.output
    for sentence in said:
        assert sentence in done.stdout
    assert not (mine / "seen").exists()
    assert [sentence in one["message"] for sentence, one in zip(said, facts("mine", zoo="zoo.yaml")["wrong"], strict=True)] == [True] * len(said)


def test_pictures_show_the_image_beside_its_labels(mine):
    done = check("mine", "--pictures", "seen", zoo="zoo.yaml")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (mine / "seen").iterdir()) == ["01.a.pair.png", "02.b.pair.png", "03.c.pair.png"]
    with Image.open(mine / "seen" / "01.a.pair.png") as drawn, Image.open(mine / "mine" / "i" / "a.png") as image:
        pixels, original = np.array(drawn), np.array(image)
    assert (pixels[:6, :9] == original).all()
    tinted = pixels[:6, 15:24].astype(int)
    assert (tinted[0, 3] == original[0, 3]).all()  # 255 does not count, and keeps its colour
    colour = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]])
    assert np.abs(tinted[0, :3] - (0.4 * original[0, :3] + 0.6 * colour)).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("mini",), 7, "did you mean mine?"),
        (("no/where",), 7, "no/where: no such folder, and no data set of this zoo"),
        (("mine", "--split", "val"), 2, "no split 'val'; there are all"),
        (("elsewhere", "--like", "mine"), 8, "elsewhere: no such folder"),
    ],
)
def test_a_data_set_that_is_not_there(arguments, code, said, mine):
    done = check(*arguments, zoo="zoo.yaml")
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_a_data_set_that_was_not_fetched():
    done = check("ade20k")
    assert (done.exit_code, "data set ade20k is not here: segzoo fetch ade20k; " in done.stderr.replace("\nhint: ", "; ")) == (8, True), done.output
    assert "--like ade20k" in done.stderr


def test_info_spells_the_rule_as_the_manifest_does(mine):
    done = CliRunner().invoke(main, ["--zoo", "zoo.yaml", "info", "mine", "--json"])
    assert json.loads(done.stdout)["result"]["labels"] == {"from": 0, "ignore": [255], "colours": False}
    assert "labels.from" in CliRunner().invoke(main, ["--zoo", "zoo.yaml", "info", "mine"]).stdout
