"""The protocol of rstrudel/segmenter against its own code: probabilities, label maps, and counts of whole data sets."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import GOLDEN, MINI

from segzoo.conversion.plan import plan
from segzoo.conversion.run import run
from segzoo.datasets.image import read_image
from segzoo.datasets.pairs import samples
from segzoo.evaluation.agreement import MARGIN, explained
from segzoo.evaluation.counts import Counts, counts_of
from segzoo.evaluation.evaluator import Evaluator
from segzoo.formats import open_weights
from segzoo.layouts import OWN
from segzoo.manifest.entries import Protocol
from segzoo.models.segmentor import build

HERE = GOLDEN / "segmenter" / "protocol"
PIXELS = GOLDEN / "mmseg" / "data" / "mini" / "images" / "validation"
DEIT = {"mean": (123.68, 116.28, 103.53), "std": (58.4, 57.12, 57.38)}
VIT = {"mean": 127.5, "std": 127.5}
# checkpoint, scale, window, stride, normalisation; images end up smaller than the window in the last three
RUNS = {
    "mask": ("mask", (256, 64), 64, 32, VIT),
    "linear": ("linear", (256, 64), 64, 32, VIT),
    "distilled": ("distilled", (256, 64), 64, 32, DEIT),
    "upsampled": ("upsampled", (120, 60), 64, 32, VIT),
    "upsampled60": ("upsampled", (120, 60), 60, 28, VIT),  # a window that is no multiple of the patch
    "upsampled84": ("upsampled", (120, 60), 84, 52, VIT),  # and whose grid needs other position embeddings
}
MODES = {"ss": "ss", "ms": "ms+flip"}


def evaluator(name, by="rstrudel", resample="bilinear"):
    checkpoint, scale, crop, stride, normalisation = RUNS[name]
    weights = open_weights(HERE / f"{checkpoint}.pth")
    steps = plan(weights.specs, OWN["vit"], heads=2)
    decoder = replace(steps.geometry.decoder, heads=2 if checkpoint != "linear" else None)
    model = build(
        steps.layout.family, replace(steps.geometry, decoder=decoder), dict(run(steps, weights)), head_eps=1e-5, eps=1e-5, resample=resample
    )
    return Evaluator(model, Protocol(dataset="x", by=by, scale=scale, crop=crop, stride=stride, **normalisation), 8, torch.device("cpu"))


def probabilities(name, mode, image, found):
    """Of the golden run, and ours at the same pixels."""
    golden = np.load(HERE / f"{name}_{mode}_{image}.npz")
    if "prob" in golden:
        return golden["prob"], found
    return golden["prob4"], found[:, ::4, ::4]


@pytest.mark.parametrize("image", ["mini_01_50x90", "mini_03_33x200", "mini_05_20x31"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RUNS)
def test_probabilities_and_labels(name, mode, image):
    found = evaluator(name).scores(read_image(PIXELS / f"{image}.png"), MODES[mode])
    expected, ours = probabilities(name, mode, image, found)
    assert np.abs(ours.numpy() - expected).max() <= 1e-5
    best = found.topk(2, dim=0).values
    differing = found.argmax(0).numpy() != np.load(HERE / f"{name}_{mode}_{image}.npz")["pred"]
    assert not (differing & ~(best[0] - best[1] < MARGIN).numpy()).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RUNS)
def test_counts_of_every_image(name, mode):
    stored = json.loads((HERE / f"{name}.json").read_text())[mode]
    scorer = evaluator(name)
    chosen = [sample for sample in samples("ade20k", MINI / "ade_mini", "validation", 40) if sample.image.stem in stored]
    assert len(chosen) == (40 if mode == "ss" else 8)
    for sample, one in scorer.evaluate(chosen, MODES[mode]):
        expected = Counts(*(np.array(stored[sample.image.stem][kind]) for kind in ("intersect", "pred", "label")))
        found = counts_of(one)
        assert found == expected or explained(scorer, sample, found, expected, MODES[mode])[0], sample.name


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("upsampled84", {"resample": "bicubic"}), ("upsampled", {"by": "mmseg"}), ("upsampled60", {"by": "mmseg"})],
)
def test_another_protocol_is_seen(name, wrong):
    image = "mini_01_50x90"
    expected, ours = probabilities(name, "ms", image, evaluator(name, **wrong).scores(read_image(PIXELS / f"{image}.png"), "ms+flip"))
    assert np.abs(ours.numpy() - expected).max() > 3e-4
