"""Counts and figures by hand, and against what mmseg's own IoUMetric printed."""

import json

import numpy as np
import pytest
import torch
from support import MINI

from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import Counts, accuracy, iou, metrics, total
from segzoo.evaluation.counts import counts_of as counts_in
from segzoo.evaluation.verdict import judge, tolerance

GOLDEN_METRICS = json.loads((MINI / "expected" / "metrics.json").read_text())


def count(pred, label, classes):
    return counts_in(confusion(torch.from_numpy(pred), label.astype(np.uint8), classes).numpy())


def counts_of(record):
    return Counts(*(np.array(record[kind]) for kind in ("intersect", "pred", "label")))


def test_two_by_two_by_hand():
    found = count(np.array([[0, 1], [1, 1]]), np.array([[0, 1], [0, 255]]), 3)
    assert [array.tolist() for array in found.arrays] == [[1, 1, 0], [1, 2, 0], [2, 1, 0]]
    assert found.union.tolist() == [2, 2, 0]
    assert iou(found)[:2].tolist() == [50, 50]
    assert np.isnan(iou(found)[2])
    assert metrics(found) == {"aAcc": 66.67, "mIoU": 50.0, "mAcc": 75.0}


def test_a_label_beyond_the_classes_is_not_ignored():
    found = count(np.array([[1, 1]]), np.array([[199, 1]]), 2)
    assert [array.tolist() for array in found.arrays] == [[0, 1], [0, 2], [0, 1]]  # a false positive for class 1


@pytest.mark.parametrize("mode", GOLDEN_METRICS)
def test_figures_are_mmsegs(mode):
    record = GOLDEN_METRICS[mode]
    images = [counts_of(one) for one in record["per_image"].values()]
    assert total(images) == counts_of(record["totals"])
    assert metrics(total(images)) == record["metrics"]
    assert total(images[:20]) + total(images[20:]) == total(reversed(images))


def test_no_pixels_no_figure():
    nothing = count(np.array([[0]]), np.array([[255]]), 2)
    assert np.isnan(metrics(nothing)["mIoU"])


def test_the_verdict():
    images = [counts_of(one) for one in GOLDEN_METRICS["mask/ss"]["per_image"].values()]
    assert judge(images, 85.64, 2, of=40)[0] == "confirmed"
    assert judge(images, 85.69, 2, of=40)[0] == "confirmed"
    assert judge(images, 85.70, 2, of=40) == ("refuted", "refuted, more than 0.055 apart")
    assert judge(images, 85.7, 1, of=40) == ("confirmed", "confirmed within 0.1")
    assert judge(images, 85.70, 2, of=2000)[0] == "consistent"
    assert judge(images, 60.0, 2, of=2000)[0] == "inconsistent"


@pytest.mark.parametrize(("measured", "reported", "decimals"), [(38.2, 38.1, 1), (38.0, 38.1, 1), (46.9, 47.0, 1), (79.2, 79.1, 1), (50.0, 49.9, 1)])
def test_the_tolerance_is_inclusive(measured, reported, decimals):
    whole = 1000
    right = round(measured * whole / 100)
    one = Counts(*(np.array([value]) for value in (right, right, whole)))
    assert judge([one], reported, decimals, 1)[0] == "confirmed"
    assert judge([one], reported + (0.01 if reported > measured else -0.01), decimals, 1)[0] == "refuted"


def test_a_figure_is_taken_for_as_exact_as_it_is_printed():
    assert [tolerance(decimals) for decimals in (0, 1, 2)] == [0.55, 0.1, 0.055]


def test_sparse_counts_are_whole_again():
    for record in GOLDEN_METRICS["mask/ss"]["per_image"].values():
        counts = counts_of(record)
        assert Counts.from_sparse(counts.sparse, 8) == counts
        assert len(counts.sparse) == np.count_nonzero(counts.pred + counts.label) < 9
    with pytest.raises(IndexError):
        Counts.from_sparse([[8, 1, 1, 1]], 8)
    with pytest.raises(ValueError, match="broadcast"):
        Counts.from_sparse([[1, 1, 1]], 8)


def test_the_confusion_of_all_pixels():
    found = confusion(torch.tensor([[0, 1, 1, 2, 2]]), np.array([[0, 0, 2, 255, 7]], np.uint8), 3)
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]  # the last row: a label that is no class
    assert accuracy(counts_in(found.numpy()))[[0, 2]].tolist() == [50, 0]
