"""The figures of saved label maps, against the real mmseg's IoUMetric; and what is wrong with predictions."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI

from segzoo.cli import main
from segzoo.datasets.pairs import samples
from segzoo.datasets.predictions import predictions
from segzoo.datasets.sample import Meaning, Sample
from segzoo.errors import NotFoundError
from segzoo.evaluation.scores import per_class, score, summary

MMSEG = json.loads((GOLDEN / "mini_zoo" / "scores.json").read_text())
FOUND = samples("ade20k", MINI / "ade_mini", "validation", 40)
CLASSES = ["sky", "grass", "sand", "disc", "box", "triangle", "ring", "stripes"]


def segzoo(*arguments):
    return CliRunner().invoke(main, ["--zoo", "mini", *map(str, arguments)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What `predict` saves of the mini zoo's images."""
    folder = tmp_path_factory.mktemp("predicted")
    done = segzoo("predict", "mini-mask", MINI / "ade_mini" / "images" / "validation", "-o", folder, "--device", "cpu")
    assert done.exit_code == 0, done.output
    return folder


def test_the_command_gives_mmsegs_figures(saved):
    answer = json.loads(segzoo("score", saved, "--data", "ade-mini", "--json").stdout)["result"]
    expected = MMSEG["mini-mask"]
    kinds = expected["per_class"].items()
    assert answer["metrics"] == expected["metrics"]
    assert answer["per_class"] == {name: {kind: values[index] for kind, values in kinds} for index, name in enumerate(CLASSES)}
    assert (answer["images"], answer["remarks"]) == (40, [])
    shown = segzoo("score", saved, "--data", MINI / "ade_mini", "--like", "ade-mini").stdout
    assert "mIoU 85.64, aAcc 95.34, mAcc 92.04" in shown
    assert ["ring", "68.48", "83.35", "81.29", "81.29", "79.33", "83.35"] in [line.split() for line in shown.splitlines()]


def test_classes_that_are_missing_count_as_mmseg_counts_them(saved):
    """A class that is predicted and not labelled has an IoU of 0 and no F-score; one that is neither has no figure at all."""
    chosen = [FOUND[2], FOUND[7]]
    paths, others = predictions(saved, chosen)
    counts = score(chosen, paths, 8)
    expected = MMSEG["mini-mask, images 3 and 8"]
    assert summary(counts) == expected["metrics"]
    mine = {kind: [None if np.isnan(value) else round(float(value), 2) for value in values] for kind, values in per_class(counts).items()}
    assert mine == expected["per_class"]
    assert len(others) == 38


def put(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8 if np.max(values) < 256 else np.uint16)).save(path)


def test_more_than_255_classes(tmp_path):
    put(tmp_path / "label.png", [[0, 255, 299, 300]])
    put(tmp_path / "out" / "a.png", [[0, 255, 298, 1]])
    one = Sample("a.jpg", tmp_path / "a.jpg", tmp_path / "label.png", Meaning(ignore=frozenset({300})))
    counts = score([one], predictions(tmp_path / "out", [one])[0], 300)
    assert np.flatnonzero(counts.intersect).tolist() == [0, 255]
    assert counts.label.sum() == counts.pred.sum() == 3


@pytest.mark.parametrize(
    "names",
    [
        ["x/a.labels.png", "x/b.labels.png", "y/a.labels.png"],
        ["x/a.png", "x/b.tif", "y/a.png"],
        ["x/a.labels.png", "b.png", "y/a_jpg.labels.png", "y/a.overlay.png", "y/a.png"],
    ],
)
def test_predictions_are_called_as_their_images(names, tmp_path):
    found = [Sample(name, tmp_path / name, tmp_path / name) for name in ("x/a.jpg", "x/b.jpg", "y/a.jpg")]
    for name in names:
        put(tmp_path / "out" / name, [[0]])
    paths, _ = predictions(tmp_path / "out", found)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == names[:3]


def test_a_prediction_that_could_be_of_two_images_is_refused(tmp_path):
    put(tmp_path / "out" / "a.png", [[0]])
    found = [Sample(name, tmp_path / name, tmp_path / name) for name in ("x/a.jpg", "y/a.jpg")]
    with pytest.raises(NotFoundError, match=r"the prediction of x/a\.jpg, or of y/a\.jpg"):
        predictions(tmp_path / "out", found)


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A data set of two images, described in a manifest, and predictions of it."""
    monkeypatch.chdir(tmp_path)
    for name, label, found in (("a", [[0, 1, 2]], [[0, 1, 1]]), ("b", [[2, 255, 0]], [[2, 2, 0]])):
        put(tmp_path / "set" / "img" / f"{name}.png", np.arange(9).reshape(1, 3, 3))
        put(tmp_path / "set" / "ann" / f"{name}.png", label)
        put(tmp_path / "out" / f"{name}.png", found)
    (tmp_path / "zoo.yaml").write_text(
        "version: 1\ndatasets:\n  few: {title: F, loader: folders, root: set, path: set, split: all, images: 2, folders: {images: img, labels: ann},"
        " labels: {from: 0, ignore: [255]}, classes: {a: [0, 0, 0], b: [1, 1, 1], c: [2, 2, 2]}}\n"
    )
    return tmp_path


def scored(*arguments):
    return CliRunner().invoke(main, ["--zoo", "zoo.yaml", "score", *arguments])


def test_a_data_set_of_ones_own(few):
    answer = json.loads(scored("out", "--data", "few", "--json").stdout)["result"]
    assert answer["metrics"]["aAcc"] == 80.0  # four of five pixels
    assert answer["per_class"]["b"] == {"IoU": 50.0, "Acc": 100.0, "Dice": 66.67, "Fscore": 66.67, "Precision": 50.0, "Recall": 100.0}


@pytest.mark.parametrize(
    ("harm", "code", "said"),
    [
        (lambda here: (here / "out" / "b.png").unlink(), 7, "predictions are missing for 1 of 2 images, the first b.png"),
        (lambda here: put(here / "out" / "b.png", [[0, 1]]), 8, "2x1 pixels, the label map of b.png has 3x1"),
        (lambda here: put(here / "out" / "b.png", [[0, 3, 255]]), 8, "values 3, 255 in 2 pixels; a prediction has class indices from 0 to 2"),
        (lambda here: put(here / "out" / "b.png", np.zeros((1, 3, 3))), 8, "found an image of mode RGB"),
        (lambda here: (here / "out" / "b.png").write_bytes(b"none"), 8, "not a readable label map"),
        (lambda here: put(here / "set" / "ann" / "b.png", [[0, 1, 7]]), 8, "labels 7 are neither a class nor ignored"),
        (lambda here: (here / "set" / "ann" / "b.png").unlink(), 8, "labels are missing for 1 of 2 images"),
    ],
)
def test_what_cannot_be_scored_is_said(harm, code, said, few):
    harm(few)
    done = scored("out", "--data", "few")
    assert (done.exit_code, said in done.stderr, done.stdout) == (code, True, ""), done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "--data", "few"), 7, "nowhere: no such folder"),
        (("out", "--data", "fewer"), 7, "did you mean few?"),
        (("out", "--data", "no/where"), 7, "no/where: no such folder, and no data set of this zoo"),
        (("out", "--data", "few", "--split", "val"), 2, "no split 'val'; there are all"),
        (("out", "--data", "set", "--like", "fewer"), 7, "did you mean few?"),
    ],
)
def test_names_that_are_not_there(arguments, code, said, few):
    done = scored(*arguments)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_other_label_maps_are_told_and_predictions_that_hardly_ever_agree(few):
    put(few / "out" / "c.png", [[0]])
    put(few / "out" / "a.png", [[1, 2, 0]])
    put(few / "out" / "b.png", [[0, 0, 1]])
    done = scored("out", "--data", "few")
    assert "1 label map of no image in the data set, the first out/c.png" in done.stderr
    assert "aAcc under 1 %" in done.stderr


def test_a_folder_without_a_manifest_is_scored_where_its_labels_leave_no_doubt(few):
    done = scored("out", "--data", "set")
    assert done.exit_code == 0, done.output
    assert "no manifest describes set: 3 classes, labels from 0, ignore [255], split 'all'" in done.stderr
    assert "aAcc 80.00" in done.stdout
    for name in "ab":
        put(few / "out" / f"{name}.png", [[0, 1, 1]])  # as if 0 were unlabelled, and there were two classes
    done = scored("out", "--data", "set")
    assert (done.exit_code, "0 may be a class, or mean unlabelled" in done.stderr) == (8, True), done.output
    for name, colours in (("a", [[[0, 0, 0], [9, 0, 0], [0, 9, 0]]]), ("b", [[[0, 9, 0], [9, 0, 0], [0, 0, 0]]])):
        put(few / "set" / "ann" / f"{name}.png", colours)
        Image.fromarray(np.arange(9, dtype=np.uint8).reshape(1, 3, 3)).save(few / "set" / "img" / f"{name}.jpg")
        (few / "set" / "img" / f"{name}.png").unlink()
    done = scored("out", "--data", "set")
    assert (done.exit_code, "nothing says which of them is class 0" in done.stderr) == (8, True), done.output
