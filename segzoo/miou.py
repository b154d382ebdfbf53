"""Confusion counts per class, their sum, and what follows from them: IoU, mIoU, accuracies. Pure, int64.

As mmseg 1.2.2's IoUMetric, but exact: it sums float32 histograms. Figures are percent.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

IGNORED = 255


@dataclass(frozen=True)
class Counts:
    """Pixels per class, (classes,) int64 each: where prediction and label agree, predicted, labelled."""

    intersect: np.ndarray
    pred: np.ndarray
    label: np.ndarray

    @property
    def union(self) -> np.ndarray:
        return self.pred + self.label - self.intersect

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.intersect + other.intersect, self.pred + other.pred, self.label + other.label)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and all(np.array_equal(mine, theirs) for mine, theirs in zip(self.arrays, other.arrays, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.intersect, self.pred, self.label


def count(pred: np.ndarray, label: np.ndarray, classes: int) -> Counts:
    """The counts of one image. Label 255 is ignored; any other label beyond the classes is a false positive's pixel."""
    kept = label != IGNORED
    pred, label = pred[kept], label[kept]

    def histogram(values: np.ndarray) -> np.ndarray:
        return np.bincount(values, minlength=classes)[:classes].astype(np.int64)

    return Counts(histogram(pred[pred == label]), histogram(pred), histogram(label))


def total(counts: Iterable[Counts]) -> Counts:
    """The sum over images; it does not depend on their order."""
    parts = list(counts)
    return Counts(*(np.sum(arrays, axis=0) for arrays in zip(*(part.arrays for part in parts), strict=True)))


def iou(counts: Counts) -> np.ndarray:
    """IoU of each class in percent, NaN where a class is neither predicted nor labelled."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * counts.intersect / counts.union


def mean_iou(counts: Counts) -> float:
    """mIoU in percent: the mean over the classes that occur."""
    values = iou(counts)
    occurring = values[~np.isnan(values)]
    return float(occurring.mean()) if occurring.size else math.nan


def metrics(counts: Counts) -> dict[str, float]:
    """aAcc, mIoU and mAcc in percent, rounded to two decimals as MMSegmentation prints them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = 100 * counts.intersect / counts.label
    pixels = counts.label.sum()
    values = {
        "aAcc": 100 * float(counts.intersect.sum()) / pixels if pixels else math.nan,
        "mIoU": mean_iou(counts),
        "mAcc": float(np.nanmean(accuracy)) if not np.isnan(accuracy).all() else math.nan,
    }
    return {name: round(value, 2) for name, value in values.items()}


def interval(counts: Sequence[Counts], draws: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """A confidence interval of the mIoU in percent, by a bootstrap over images (percentile method)."""
    stacked = [np.stack(arrays) for arrays in zip(*(one.arrays for one in counts), strict=True)]
    random = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = random.integers(len(counts), size=len(counts))
        weights = np.bincount(chosen, minlength=len(counts))
        values.append(mean_iou(Counts(*(weights @ array for array in stacked))))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
