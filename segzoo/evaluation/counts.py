"""Pixel counts per class, their sum, and the figures from them in percent: IoU, mIoU, accuracies.

The figures are those of mmseg 1.2.2's IoUMetric. It adds float32 histograms; these counts are int64, so their sum is exact.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


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
    def sparse(self) -> list[list[int]]:
        """[class, intersect, pred, label] of each class that is predicted or labelled, as a receipt holds an image."""
        occurring = np.flatnonzero(self.pred + self.label)
        return [[int(index), *(int(array[index]) for array in self.arrays)] for index in occurring]

    @classmethod
    def from_sparse(cls, rows: Sequence[Sequence[int]], classes: int) -> "Counts":
        """The inverse of `sparse`. Raises IndexError for a class that does not exist, ValueError for a row that is too short or too long."""
        whole = np.zeros((3, classes), np.int64)
        for index, *values in rows:
            whole[:, index] = values
        return cls(*whole)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.intersect, self.pred, self.label


def counts_of(confusion: np.ndarray) -> Counts:
    """The counts in a confusion matrix (classes + 1, classes): a row for each label, the last row for labels beyond the classes."""
    return Counts(confusion[:-1].diagonal().copy(), confusion.sum(0), confusion[:-1].sum(1))


def total(counts: Iterable[Counts]) -> Counts:
    """The sum over images; it does not depend on their order."""
    parts = list(counts)
    return Counts(*(np.sum(arrays, axis=0) for arrays in zip(*(part.arrays for part in parts), strict=True)))


def iou(counts: Counts) -> np.ndarray:
    """IoU of each class in percent, NaN where a class is neither predicted nor labelled."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * counts.intersect / counts.union


def accuracy(counts: Counts) -> np.ndarray:
    """The share of each class's labelled pixels that are predicted as this class, in percent; NaN where none are labelled."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * counts.intersect / counts.label


def percent(value: float) -> float | None:
    """A figure of a class as a receipt holds it: with two decimals, None for NaN."""
    return None if math.isnan(value) else round(float(value), 2)


def mean_iou(counts: Counts) -> float:
    """mIoU in percent: the mean over the classes that occur."""
    values = iou(counts)
    occurring = values[~np.isnan(values)]
    return float(occurring.mean()) if occurring.size else math.nan


def metrics(counts: Counts) -> dict[str, float]:
    """aAcc, mIoU and mAcc in percent, rounded to two decimals as MMSegmentation prints them."""
    accuracies = accuracy(counts)
    pixels = counts.label.sum()
    values = {
        "aAcc": 100 * float(counts.intersect.sum()) / pixels if pixels else math.nan,
        "mIoU": mean_iou(counts),
        "mAcc": float(np.nanmean(accuracies)) if not np.isnan(accuracies).all() else math.nan,
    }
    return {name: round(float(value), 2) for name, value in values.items()}
