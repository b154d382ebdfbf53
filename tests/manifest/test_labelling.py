"""The rule of labels and the folders in a manifest: what they become, and what contradicts itself, with its line."""

import pytest

from segzoo.datasets.sample import Meaning
from segzoo.errors import UsageError
from segzoo.manifest.document import load_manifest

VALID = """\
version: 1
datasets:
  tiny:
    title: A tiny set
    loader: folders
    root: tiny
    split: anything
    images: 2
    folders: {images: "img/{split}", labels: "ann/{split}"}
    labels:
      from: 0
      ignore: [255]
    path: tiny
    classes: {sky: [1, 2, 3], sea: [4, 5, 6]}
"""
RULE = "      from: 0\n      ignore: [255]\n"


def dataset(text, folder):
    (folder / "zoo.yaml").write_text(text)
    return load_manifest(folder / "zoo.yaml").datasets["tiny"]


@pytest.mark.parametrize(
    ("rule", "meaning"),
    [
        (RULE, Meaning(ignore=frozenset({255}))),
        ("      from: 0\n", Meaning()),
        ("      from: 1\n", Meaning(first=1, ignore=frozenset({0}), unsaid=frozenset({0}))),
        ("      from: 1\n      ignore: [0, 255]\n", Meaning(first=1, ignore=frozenset({0, 255}))),
        ("      values: {0: sky, 7: sea, 300: sea}\n      ignore: [65535]\n", Meaning(ignore=frozenset({65535}), keyed=((0, 0), (7, 1), (300, 1)))),
        (
            "      colours: true\n      ignore: [[255, 255, 255]]\n",
            Meaning(ignore=frozenset({0xFFFFFF}), keyed=((0x010203, 0), (0x040506, 1)), coloured=True),
        ),
    ],
)
def test_a_rule_becomes_a_meaning(rule, meaning, tmp_path):
    one = dataset(VALID.replace(RULE, rule), tmp_path)
    assert one.labels.meaning(one.classes) == meaning


FAULTS = {
    "two rules": (
        RULE,
        "      from: 0\n      colours: true\n",
        12,
        "labels.colours: expected one of 'from', 'values' and 'colours', found from and colours",
    ),
    "no rule": (RULE, "      ignore: [255]\n", 10, "labels: expected one of 'from', 'values' and 'colours', found none of them"),
    "colours are not": (RULE, "      colours: false\n", 10, "found none of them"),
    "a class that is not": (RULE, "      values:\n        0: sky\n        7: road\n", 13, "labels.values.7: no class 'road' in `classes`"),
    "a class that is ignored": (RULE, "      from: 0\n      ignore: [255, 1]\n", 12, "labels.ignore.1: 1 is ignored, and it is the class 'sea'"),
    "a class by one that is ignored": (RULE, "      from: 1\n      ignore: [2]\n", 12, "2 is ignored, and it is the class 'sea'"),
    "a listed value that is ignored": (RULE, "      values: {7: sky}\n      ignore: [7]\n", 12, "7 is ignored, and it is the class 'sky'"),
    "a colour that is ignored": (
        RULE,
        "      colours: true\n      ignore:\n        - [4, 5, 6]\n",
        13,
        "[4, 5, 6] is ignored, and it is the class 'sea'",
    ),
    "a value among colours": (RULE, "      colours: true\n      ignore: [255]\n", 12, "255 is a value, but the labels are in colours"),
    "a colour among values": (RULE, "      from: 0\n      ignore: [[0, 0, 0]]\n", 12, "[0, 0, 0] is a colour, but the labels are in from"),
    "from two": ("from: 0", "from: 2", 11, "labels.from: Input should be 0 or 1"),
    "a value too large": ("[255]", "[65536]", 12, "labels.ignore.0"),
    "a value of 17 bits": (RULE, "      values: {65536: sky}\n", 11, "labels.values.65536"),
    "an octal value": (RULE, "      values: {010: sky}\n", 11, "YAML reads 010 as int"),
    "a value twice": (RULE, "      values:\n        7: sky\n        7: sea\n", 13, "labels.values.7: this key is there twice"),
    "another field": ("ignore: [255]", "ignored: [255]", 12, "no field 'ignored' here; did you mean ignore?"),
    "its name in the program": ("from: 0", "first: 0", 11, "no field 'first' here; there are from, values, colours, ignore"),
    "no rule for folders": ("    labels:\n" + RULE, "", 3, "labels: the loader 'folders' needs it: it says what the values"),
    "no folders for folders": ('    folders: {images: "img/{split}", labels: "ann/{split}"}\n', "", 3, "folders: the loader 'folders' needs it"),
    "folders for another loader": ("loader: folders", "loader: ade20k", 9, "folders: is for the loader 'folders'"),
    "labels beside images without a suffix": (', labels: "ann/{split}"', "", 9, "without `labels` the label maps lie beside the images"),
    "an image as its label": (', labels: "ann/{split}"', ", image_suffix: .png, label_suffix: .png", 9, "an image would be its own label map"),
    "splits that are the same": ("img/{split}", "img", 9, "there are 2 splits, and neither `images` nor `list` has {split}"),
    "folders that climb": ("img/{split}", "../img", 9, "folders.images: must be a path inside"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rule_that_contradicts_itself_is_told_with_its_line(fault, tmp_path):
    old, new, line, said = FAULTS[fault]
    text = VALID if fault != "splits that are the same" else VALID.replace("images: 2\n", "images: 2\n    other_splits: {more: 3}\n")
    line += fault == "splits that are the same"
    dataset(text, tmp_path)
    assert text.count(old) == 1
    with pytest.raises(UsageError) as raised:
        dataset(text.replace(old, new), tmp_path)
    assert raised.value.message.startswith(f"{tmp_path / 'zoo.yaml'}:{line}: datasets.tiny")
    assert said in raised.value.message


def test_a_split_that_yaml_takes_for_a_number_is_to_be_quoted(tmp_path):
    with pytest.raises(UsageError, match=r"datasets\.tiny\.split: Input should be a valid string, found 2017") as raised:
        dataset(VALID.replace("split: anything", "split: 2017"), tmp_path)
    assert raised.value.hint == "quote it: it must be a text"
    assert dataset(VALID.replace("split: anything", 'split: "2017"'), tmp_path).split == "2017"


def test_classes_that_share_a_colour_are_named(tmp_path):
    text = VALID.replace(RULE, "      colours: true\n").replace("[4, 5, 6]", "[1, 2, 3], sand: [9, 9, 9]")
    with pytest.raises(UsageError) as raised:
        dataset(text, tmp_path)
    assert "zoo.yaml:11: datasets.tiny.labels.colours: the classes 'sky' and 'sea' share the colour [1, 2, 3]" in raised.value.message
