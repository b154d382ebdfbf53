"""The protocol against the real mmseg's: logits and label maps on awkward sizes, counts on a whole data set."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import GOLDEN, MINI
from PIL import Image
from test_model import golden_model

from segzoo.datasets.ade20k import read_image, read_label
from segzoo.datasets.pairs import digest, samples
from segzoo.errors import EnvironmentFault
from segzoo.evaluation import MARGIN, evaluate, explained, scores_of, subset
from segzoo.formats import open_weights
from segzoo.inference import close_calls, windows
from segzoo.miou import Counts
from segzoo.model import build

CPU = torch.device("cpu")
AWKWARD = sorted(path.stem for path in (GOLDEN / "mmseg" / "expected" / "mini_mask" / "ss").glob("*.npz"))


def agrees(scores, logits, pred):
    """Logits within 1e-5; labels equal but where mmseg's own two best scores are closer than the margin."""
    expected = torch.from_numpy(logits)
    assert (scores - expected).abs().max() <= 1e-5
    differing = scores.argmax(0).numpy() != pred
    assert not (differing & ~close_calls(expected, MARGIN).numpy()).any()


@pytest.mark.parametrize("image", AWKWARD)
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_logits_and_labels_on_awkward_sizes(head, image, mini_zoo):
    golden = np.load(GOLDEN / "mmseg" / "expected" / f"mini_{head}" / "ss" / f"{image}.npz")
    pixels = read_image(GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation" / f"{image}.png")
    scores = scores_of(golden_model(head), pixels, mini_zoo.models["mini-mask"].protocol, CPU)
    agrees(scores, golden["logits"].reshape(scores.shape), golden["pred"].reshape(scores.shape[1:]))


@pytest.mark.parametrize("image", AWKWARD)
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_probabilities_and_labels_of_1xs_augmentation_on_awkward_sizes(head, image, mini_zoo):
    golden = np.load(GOLDEN / "mmseg" / "expected" / f"mini_{head}" / "tta" / f"{image}.npz")
    pixels = read_image(GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation" / f"{image}.png")
    mean = scores_of(golden_model(head), pixels, mini_zoo.models["mini-mask"].protocol, CPU, "ms+flip-1.x")
    agrees(mean, golden["prob"].reshape(mean.shape), golden["pred"].reshape(mean.shape[1:]))


@pytest.mark.parametrize("mode", ["ms+flip", "ms+flip-1.x"])
@pytest.mark.parametrize("head", ["mask", "linear"])
def test_augmented_counts_are_mmsegs(head, mode, mini_zoo):
    entry = mini_zoo.models[f"mini-{head}"]
    model = mini_model(entry)
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())[entry.counts.keys[mode]]["per_image"]
    found = samples(MINI / "ade_mini", "validation", 40)[::5]
    for sample, counted in evaluate(model, found, entry.protocol, 8, CPU, mode):
        expected = Counts(*(np.array(stored[sample.name][kind]) for kind in ("intersect", "pred", "label")))
        assert counted == expected or explained(model, sample, counted, expected, entry.protocol, CPU, mode)[0], sample.name


def test_the_whole_image_is_one_window_where_it_fits_one(mini_zoo):
    entry = mini_zoo.models["mini-mask"]
    pixels = read_image(GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation" / "mini_00_64x64.png")
    single, whole = (scores_of(mini_model(entry), pixels, entry.protocol, CPU, mode) for mode in ("ss", "whole"))
    assert torch.equal(single, whole)
    wide = np.concatenate([pixels, pixels], axis=1)
    single, whole = (scores_of(mini_model(entry), wide, entry.protocol, CPU, mode) for mode in ("ss", "whole"))
    assert (single - whole).abs().max() > 0.1


def mini_model(entry):
    return build(entry.geometry.geometry(entry.decoder), open_weights(MINI / entry.checkpoint.name), entry.backbone.eps, entry.head.eps or 1e-5)


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_the_mini_zoos_logits(head, mini_zoo):
    entry = mini_zoo.models[f"mini-{head}"]
    model = mini_model(entry)
    for path in sorted((GOLDEN / "mini_zoo" / f"{head}_ss").glob("*.npz")):
        golden = np.load(path)
        pixels = read_image(MINI / "ade_mini" / "images" / "validation" / f"{path.stem}.jpg")
        scores = scores_of(model, pixels, entry.protocol, CPU)
        assert (scores - torch.from_numpy(golden["logits"].reshape(scores.shape))).abs().max() <= 2e-5  # logits up to 20 here
        assert np.array_equal(scores.argmax(0).numpy(), golden["pred"].reshape(scores.shape[1:]))


@pytest.mark.parametrize("head", ["mask", "linear"])
def test_every_images_counts_are_mmsegs(head, mini_zoo):
    """Exactly equal; where a machine adds in another order, only by pixels whose two best scores are closer than 2e-5."""
    entry = mini_zoo.models[f"mini-{head}"]
    model = mini_model(entry)
    stored = json.loads((MINI / "expected" / "metrics.json").read_text())[f"{head}/ss"]["per_image"]
    found = samples(MINI / "ade_mini", "validation", 40)
    compared = 0
    for sample, counted in evaluate(model, found, entry.protocol, 8, CPU):
        expected = Counts(*(np.array(stored[sample.name][kind]) for kind in ("intersect", "pred", "label")))
        assert counted == expected or explained(model, sample, counted, expected, entry.protocol, CPU)[0], sample.name
        compared += 1
    assert compared == 40


def test_close_calls_explain_no_more_than_they_can(mini_zoo):
    entry = mini_zoo.models["mini-linear"]
    model = mini_model(entry)
    sample = samples(MINI / "ade_mini", "validation", 40)[0]
    _, counted = next(evaluate(model, [sample], entry.protocol, 8, CPU))
    moved = Counts(counted.intersect.copy(), counted.pred + np.array([500, -500, 0, 0, 0, 0, 0, 0]), counted.label)
    assert not explained(model, sample, counted, moved, entry.protocol, CPU)[0]
    assert explained(model, sample, counted, counted, entry.protocol, CPU)[0]


@pytest.mark.parametrize(
    ("length", "expected"),
    [(64, [(0, 64)]), (20, [(0, 20)]), (65, [(0, 64), (1, 65)]), (112, [(0, 64), (48, 112)]), (113, [(0, 64), (48, 112), (49, 113)])],
)
def test_windows(length, expected):
    assert windows(length, 64, 48) == expected


def test_a_subset_is_seeded_and_in_order():
    found = samples(MINI / "ade_mini", "validation", 40)
    chosen = subset(found, 5)
    assert chosen == subset(found, 5)
    assert chosen == sorted(chosen, key=lambda sample: sample.name)
    assert len(set(chosen)) == 5
    assert subset(found, 50) == subset(found, None) == list(found)


def test_labels_follow_ade20ks_rule(tmp_path):
    Image.fromarray(np.array([[0, 1, 150, 255, 200]], np.uint8)).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").tolist() == [[255, 0, 149, 255, 199]]


def test_images_are_turned_as_exif_says_and_labels_are_not(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)
    assert read_label(tmp_path / "a.png").shape == (4, 6)


@pytest.fixture
def ade(tmp_path):
    """A data set of one's own to break."""
    return shutil.copytree(MINI / "ade_mini", tmp_path / "ade")


FIRST = "validation/ADE_val_00000001"
FAULTS = {
    "no labels": (lambda ade: shutil.rmtree(ade / "annotations"), "no such folder"),
    "a label lost": (lambda ade: (ade / "annotations" / f"{FIRST}.png").unlink(), "1 images have no label"),
    "an image lost": (lambda ade: (ade / "images" / f"{FIRST}.jpg").unlink(), "1 labels have no image"),
    "a pair lost": (
        lambda ade: [(ade / part).unlink() for part in (f"annotations/{FIRST}.png", f"images/{FIRST}.jpg")],
        "expected 40 images, found 39",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_half_a_data_set(fault, ade):
    harm, said = FAULTS[fault]
    harm(ade)
    with pytest.raises(EnvironmentFault, match=said):
        samples(ade, "validation", 40)


def test_a_damaged_image_a_wrong_label_and_a_wrong_size_are_named(ade, mini_zoo):
    whole = digest(samples(ade, "validation", 40))
    image, label = ade / "images" / f"{FIRST}.jpg", ade / "annotations" / f"{FIRST}.png"
    Image.new("L", (3, 3)).save(label)
    entry = mini_zoo.models["mini-linear"]
    first = samples(ade, "validation", 40)[:1]
    with pytest.raises(EnvironmentFault, match="3x3 pixels, its image has 74x72"):
        next(evaluate(mini_model(entry), first, entry.protocol, 8, CPU))
    Image.new("RGB", (3, 3)).save(label)
    with pytest.raises(EnvironmentFault, match="expected 8-bit class indices"):
        read_label(label)
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(EnvironmentFault, match="not a readable image"):
        read_image(image)
    assert digest(samples(ade, "validation", 40)) != whole
