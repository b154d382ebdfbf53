"""A model with one output: the pixels that mmseg 1.2.2's own test loop counts. `bench/binary_head.py` made the golden figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support import GOLDEN, MINI

from segzoo.datasets.decode import read_image, read_label
from segzoo.datasets.sample import AS_IT_IS, FROM_ONE, Sample
from segzoo.errors import UsageError
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import counts_of, metrics, total
from segzoo.evaluation.evaluator import Evaluator
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import open_zoo

EXPECTED = json.loads((GOLDEN / "binary_head.json").read_text())
IMAGES = sorted((MINI / "ade_mini" / "images" / "validation").glob("*.jpg"))
RULES = {
    "masks": (lambda raw: (raw == 1).astype(np.uint8), AS_IT_IS),
    "from one": (lambda raw: ((raw > 0) * 1 + (raw == 1)).astype(np.uint8), FROM_ONE),
    "one class": (lambda raw: (raw == 1).astype(np.uint8), FROM_ONE),
}


def binary(folder: Path, **meta) -> Path:
    """The mini zoo's linear Segmenter with one score: that of sky less the mean of the others."""
    whole = torch.load(next(MINI.glob("segmenter_mini_linear-*.pth")), weights_only=True)
    state = whole["state_dict"]
    for kind in ("weight", "bias"):
        eight = state[f"decode_head.conv_seg.{kind}"]
        state[f"decode_head.conv_seg.{kind}"] = eight[:1] - eight[1:].mean(0, keepdim=True)
    torch.save({"state_dict": state, "meta": meta}, folder / "binary.pth")
    return folder / "binary.pth"


def evaluator(folder, **meta):
    model = loaded(binary(folder, **meta), open_zoo("mini"))
    return Evaluator(model.module, model.protocol, 2, torch.device("cpu")), model


def head(threshold):
    return {"config": f"model = dict(decode_head=dict(type='FCNHead', num_classes=2, out_channels=1, threshold={threshold}))"}


def test_counts_and_shares_are_mmsegs(tmp_path):
    """One run over the images, counted by each rule for the labels."""
    one, model = evaluator(tmp_path, CLASSES=("background", "sky"))
    assert list(model.classes) == ["background", "sky"]
    counts = {rule: [] for rule in RULES}
    for path in IMAGES:
        found = one.label_map(read_image(path))
        assert found.mean() == pytest.approx(EXPECTED["masks"]["sky"][path.name], abs=1e-7)
        raw = np.array(Image.open(MINI / "ade_mini/annotations/validation" / f"{path.stem}.png"))
        for rule, (labels, meaning) in RULES.items():
            Image.fromarray(labels(raw)).save(tmp_path / "label.png")
            label = read_label(Sample(path.name, path, tmp_path / "label.png", meaning), 2)
            counts[rule].append(counts_of(confusion(torch.from_numpy(found).long(), label, 2).numpy()))
    for rule in RULES:
        summed = total(counts[rule])
        expected = EXPECTED[rule]
        assert metrics(summed) == pytest.approx(expected["metrics"], abs=1e-4), rule
        if rule != "one class":  # there torch.histc has no range, and counts all pixels of an image for the one class
            assert [array.tolist() for array in summed.arrays] == [expected["totals"][kind] for kind in ("intersect", "pred", "label")]


def test_the_configs_threshold(tmp_path):
    one, _ = evaluator(tmp_path, **head(0.6))
    for path in IMAGES[:3]:
        found = one.label_map(read_image(path)).mean()
        assert found == pytest.approx(EXPECTED["masks, threshold 0.6"]["sky"][path.name], abs=1e-7)
        assert found != pytest.approx(EXPECTED["masks"]["sky"][path.name], abs=1e-3)


def test_scores_are_the_threshold_and_the_probability(tmp_path):
    one, model = evaluator(tmp_path)
    assert list(model.classes) == ["background", "foreground"]
    image = np.ascontiguousarray(read_image(IMAGES[0])[:64, :64])
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None].float() - 127.5) / 127.5
    with torch.no_grad():
        expected = F.interpolate(model.module.scores(pixels), (64, 64), mode="bilinear").sigmoid()[0, 0]
    scores = one.scores(image)
    assert scores[0].unique().tolist() == [pytest.approx(0.3)]
    torch.testing.assert_close(scores[1], expected, rtol=1e-5, atol=1e-6)
    assert 100 * float((expected > 0.3).double().mean()) == pytest.approx(69.4, abs=0.05)  # by a ViT written apart from segzoo


def test_probabilities_are_averaged_over_sizes_and_flips(tmp_path):
    """As mmseg 0.x does. 1.x's tta_pipeline takes the sigmoid twice, so that every pixel is foreground."""
    one, _ = evaluator(tmp_path)
    shares = EXPECTED["masks, tta, first 8"]["sky"]
    assert set(shares.values()) == {1.0}
    with pytest.raises(UsageError, match="takes the sigmoid of a single output twice"):
        one.label_map(read_image(IMAGES[0]), "ms+flip-1.x")
    assert 0.5 < one.label_map(read_image(IMAGES[0]), "ms+flip").mean() < 0.75
