"""Counts and figures by hand, and against what mmseg's own IoUMetric printed."""

import json

import numpy as np
import pytest
from conftest import MINI

from segzoo.miou import Counts, count, interval, iou, metrics, total
from segzoo.verdict import judge

GOLDEN_METRICS = json.loads((MINI / "expected" / "metrics.json").read_text())


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
    low, high = interval(images)
    assert low < 85.64 < high
    assert interval(images) == (low, high)  # seeded
    assert judge(images, 85.64, whole=True)[0] == "confirmed"
    assert judge(images, 85.69, whole=True)[0] == "confirmed"
    assert judge(images, 85.70, whole=True)[0] == "refuted"
    assert judge(images, 85.70, whole=False)[0] == "consistent"
    assert judge(images, 60.0, whole=False)[0] == "inconsistent"
