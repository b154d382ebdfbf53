"""A wrong rule of labels shows itself before anything is scored; a right one is not in the way."""

import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from support import MINI

from segzoo.cli import main
from segzoo.datasets.loaders import LOADERS
from segzoo.datasets.pairs import samples
from segzoo.datasets.sample import AS_IT_IS, FROM_ONE, Meaning, Sample, keyed
from segzoo.errors import EnvironmentFault
from segzoo.evidence.climb import verify
from segzoo.evidence.ladder import Setting
from segzoo.evidence.rungs.labels import labels_fit
from segzoo.manifest.document import load_manifest
from segzoo.store.store import Store, home

EIGHT = [f"class {index}" for index in range(8)]
TWO = ["background", "sky"]
STATED = Meaning(first=1, ignore=frozenset({0, 255}))


def climb(folder, name, **setting):
    zoo = load_manifest(folder / "zoo.yaml")
    return {check.rung: check for check in verify(zoo.entries[name], Setting(zoo, folder, Store(home(), folder / "segzoo.lock"), **setting))}


def labelled(folder, *maps, meaning=FROM_ONE, repeat=1):
    """Samples whose label maps have these values."""
    found = []
    for index, values in enumerate(list(maps) * repeat):
        path = folder / f"{index:03}.png"
        Image.fromarray(np.array([values], np.uint8)).save(path)
        found.append(Sample(path.name, path, path, meaning))
    return found


def fit(chosen, names, everything=None):
    return labels_fit(chosen, everything or chosen, names, lambda done, whole: None)


@pytest.mark.parametrize(
    ("values", "names", "meaning", "said", "hint"),
    [
        ([*range(8), 255], EIGHT, FROM_ONE, "255 occurs in the labels and 8 does not", "{from: 0, ignore: [255]}"),
        ([0, 3, 5, 255], EIGHT, FROM_ONE, "255 occurs in the labels and 8 does not", "{from: 0, ignore: [255]}"),
        ([*range(8)], EIGHT, FROM_ONE, "all values from 0 to 7, as 8 classes that begin at 0", "{from: 0}"),
        ([0, 1], TWO, FROM_ONE, "all values from 0 to 1", "{from: 0}"),
        ([0, 255], TWO, FROM_ONE, "255 occurs in the labels and 2 does not", "{values: {0: background, 255: sky}}"),
        ([0, 255], TWO, AS_IT_IS, "all labels are of one class, 'background', of 2", "name the class of each"),
        ([0, 0], TWO, AS_IT_IS, "all labels are of one class", "name the class of each"),
        ([3, 3], EIGHT, Meaning(), "all labels are of one class", "name the class of each"),
        ([0, 0], EIGHT, FROM_ONE, "no pixel of the 1 images is labelled", "is one to be ignored"),
        ([1, 9, 12, 200], EIGHT, FROM_ONE, "labels 9, 12, 200 are neither a class nor ignored: 3 pixels", "too few `classes`"),
        ([0, 8], EIGHT, AS_IT_IS, "labels 8 are neither", "too few `classes`"),
        ([1, 2, 255], EIGHT, Meaning(first=1, ignore=frozenset({0}), unsaid=frozenset({0})), "labels 255 are neither", "add it to `ignore`"),
        ([0, 7, 8], TWO, keyed([(7, 0), (8, 1)]), "labels 0 are neither", "wrong `loader` or `labels`"),
    ],
)
def test_what_cannot_be_right_is_refused(values, names, meaning, said, hint, tmp_path):
    with pytest.raises(EnvironmentFault) as raised:
        fit(labelled(tmp_path, values, meaning=meaning), names)
    assert said in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("values", "names", "meaning", "said"),
    [
        ([*range(9)], EIGHT, FROM_ONE, []),
        ([*range(1, 9)], EIGHT, FROM_ONE, []),
        ([*range(9), 255], EIGHT, FROM_ONE, ["255 occurs in 10.00 % of the labels' pixels, and is ignored, as 0 is"]),
        ([*range(8), 255], EIGHT, STATED, ["no label has 1 of the 8 classes: class 7"]),
        ([*range(8)], EIGHT, STATED, ["no label has 1 of the 8 classes: class 7"]),
        ([*range(8), 255], EIGHT, AS_IT_IS, []),
        ([0, 1], TWO, AS_IT_IS, []),
        ([0, 255], TWO, keyed([(0, 0), (255, 1)]), []),
        (
            [0, 1],
            EIGHT,
            FROM_ONE,
            ["all labels are of one class, 'class 0', of 8", f"no label has 7 of the 8 classes: {', '.join(EIGHT[1:7])} and 1 more"],
        ),
        ([5, 7], TWO, keyed([(7, 1)], [5]), ["no label has 1 of the 2 classes: background"]),  # the rule itself reaches one class only
        ([0, 1, 3], EIGHT[:3], FROM_ONE, ["no label has 1 of the 3 classes: class 1"]),
    ],
)
def test_what_may_be_right_is_said(values, names, meaning, said, tmp_path):
    assert fit(labelled(tmp_path, values, meaning=meaning), names) == said


def test_a_few_images_that_look_wrong_have_the_others_looked_at(tmp_path):
    """Of the classes that begin at one, the last may be rare."""
    found = labelled(tmp_path, [*range(8)], [0, 1, 2], [0, 8, 1])
    assert fit(found[:1], EIGHT, found) == []
    assert fit(found[1:2], EIGHT, found) == []  # and rare classes of few images are nobody's fault
    with pytest.raises(EnvironmentFault, match="all values from 0 to 7"):
        fit(found[:1], EIGHT, found[:2])


def test_the_data_set_of_the_mini_zoo_fits():
    found = samples("ade20k", MINI / "ade_mini", "validation", 40)
    assert fit(found, EIGHT) == fit(found[:2], EIGHT, found) == []


def test_the_known_loaders_have_rules_that_state_what_their_publishers_state(tmp_path):
    assert set(LOADERS) == {"ade20k", "pascal-context", "pascal-context-59", "cityscapes", "folders"}
    for folder in ("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (60, 1)).save(tmp_path / "JPEGImages" / "a.jpg")
    Image.fromarray(np.array([[*range(59), 255]], np.uint8)).save(tmp_path / "SegmentationClassContext" / "a.png")
    (tmp_path / "ImageSets" / "SegmentationContext" / "val.txt").write_text("a\n")
    names = [str(index) for index in range(59)]
    assert fit(samples("pascal-context-59", tmp_path, "val", 1), names) == ["no label has 1 of the 59 classes: 58"]
    assert fit(samples("pascal-context", tmp_path, "val", 1), [*names, "59"]) == ["no label has 1 of the 60 classes: 59"]


@pytest.fixture
def zero_based(tmp_path):
    """The mini zoo with labels 0 to 7 and 255, which the loader ade20k would shift."""
    lab = shutil.copytree(MINI, tmp_path / "lab")
    for path in (lab / "ade_mini" / "annotations" / "validation").glob("*.png"):
        with Image.open(path) as label:
            raw = np.array(label)
        Image.fromarray(np.where(raw == 0, 255, raw - 1).astype(np.uint8)).save(path)
    return lab


def change(lab, act):
    plain = yaml.safe_load((lab / "zoo.yaml").read_text())
    act(plain)
    (lab / "zoo.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))


def test_labels_from_zero_under_the_loader_of_ade20k_are_refused_and_the_stated_rule_gives_mmsegs_counts(zero_based):
    check = climb(zero_based, "mini-linear", images=2)["mIoU"]
    assert (check.status, check.code) == ("failed", 8)
    assert "255 occurs in the labels and 8 does not" in check.detail
    change(zero_based, lambda plain: plain["datasets"]["ade-mini"].update(labels={"from": 0, "ignore": [255]}))
    check = climb(zero_based, "mini-linear", images=None)["mIoU"]
    assert (check.status, check.short) == ("passed", "86.71")
    assert "the pixel counts of every image equal those stored" in check.detail
    assert check.basis["labels"] == {"from": 0, "ignore": [255], "colours": False}
    assert "labels" not in check.facts


def test_predictions_that_hardly_ever_agree_are_told(zero_based):
    """The classes one off: nothing in the values shows it, but the accuracy does."""

    def shift(plain):
        names = list(plain["datasets"]["ade-mini"]["classes"])
        plain["datasets"]["ade-mini"]["labels"] = {"values": dict(enumerate(names[1:] + names[:1])), "ignore": [255]}
        del plain["models"]["mini-linear"]["counts"], plain["models"]["mini-linear"]["reported"]

    change(zero_based, shift)
    check = climb(zero_based, "mini-linear", images=None)["mIoU"]
    assert (check.status, check.code, check.facts["modes"]["ss"]["measured"]["aAcc"] < 1) == ("skipped", 0, True)
    assert "under 1 %: predictions and labels hardly ever agree" in check.detail


def test_a_receipt_knows_the_folders_and_the_rule(zero_based, monkeypatch):
    """Its data are found again offline, and its counts are not compared with those by another rule."""
    monkeypatch.chdir(zero_based)

    def described(plain, rule):
        one = {"loader": "folders", "folders": {"images": "images/{split}", "labels": "annotations/{split}"}, "labels": rule}
        plain["datasets"]["ade-mini"].update(one)

    def segzoo(*arguments):
        done = CliRunner().invoke(main, ["--zoo", "zoo.yaml", "--zoo", "mini", *arguments])
        return done.exit_code, done.stdout + done.stderr

    change(zero_based, lambda plain: described(plain, {"from": 0, "ignore": [255]}))
    code, said = segzoo("verify", "mini-linear", "--images", "2", "--device", "cpu")
    assert (code, "the pixel counts of every image equal those stored" in said) == (0, True), said
    code, said = segzoo("receipt", "check", "mini-linear", "--data", ".")
    assert (code, "mini-linear: data: holds" in said) == (0, True), said
    change(zero_based, lambda plain: described(plain, {"from": 0, "ignore": [255, 77]}))
    code, said = segzoo("verify", "mini-linear", "--smoke", "2", "--device", "cpu")
    assert (code, "is of another labels" in said) == (7, True), said
