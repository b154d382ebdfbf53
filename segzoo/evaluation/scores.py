"""The figures of saved label maps: those of mmseg 1.2.2's IoUMetric with `mIoU`, `mDice` and `mFscore` (beta 1)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segzoo.datasets.decode import read_label
from segzoo.datasets.predictions import read_prediction
from segzoo.datasets.sample import Sample, ignored
from segzoo.evaluation.counts import Counts, accuracy, counts_of, iou


def score(found: Sequence[Sample], paths: Sequence[Path], classes: int, done: Callable[[], None] = lambda: None) -> Counts:
    """The counts of saved predictions, one path for each sample. Raises EnvironmentFault for a label map or prediction that cannot be used."""
    whole = Counts(*np.zeros((3, classes), np.int64))
    for sample, path in zip(found, paths, strict=True):
        label = read_label(sample, classes)
        whole += counted(read_prediction(path, sample, classes, label.shape), label, classes)
        done()
    return whole


def counted(pred: np.ndarray, label: np.ndarray, classes: int) -> Counts:
    """The counts of an image from its prediction and its label map, class indices (h, w); ignored labels are not counted."""
    there = label != ignored(classes)
    place = label[there].astype(np.int64) * classes + pred[there]
    return counts_of(np.bincount(place, minlength=(classes + 1) * classes).reshape(classes + 1, classes))


def per_class(counts: Counts) -> dict[str, np.ndarray]:
    """Each figure of each class in percent, (classes,); NaN where it is not defined, as precision of a class that is never predicted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = 100 * counts.intersect / counts.pred, accuracy(counts)
        return {
            "IoU": iou(counts),
            "Acc": recall,
            "Dice": 200 * counts.intersect / (counts.pred + counts.label),
            "Fscore": 2 * precision * recall / (precision + recall),
            "Precision": precision,
            "Recall": recall,
        }


def summary(counts: Counts) -> dict[str, float | None]:
    """aAcc, and the mean of each figure over the classes where it is defined, in percent with two decimals; None where it is in none."""
    means: Mapping[str, np.ndarray] = per_class(counts)
    whole = counts.label.sum()
    found: dict[str, float | None] = {"aAcc": round(100 * float(counts.intersect.sum()) / int(whole), 2) if whole else None}
    for name, values in means.items():
        defined = values[~np.isnan(values)]
        found[f"m{name}"] = round(float(defined.mean()), 2) if defined.size else None
    return found
