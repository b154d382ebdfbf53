"""Between which figures the mIoU of a whole data set lies, judged by the counts of some of its images.

Rare classes make this hard. A small subset misses most of them, or has a class in one image only. So the subset's own
mIoU is biased, and a bootstrap of it covers the truth half as often as it says. Here:

- the jackknife corrects the IoU of each class: it leaves out one image after another and sees how the IoU moves;
- where a class has one image only, nothing is left without it, so its IoU is pulled halfway to the mean of all classes;
- the spread is that of the same estimate over random halves of the subset, in which no image occurs twice.

Some classes are predicted in the subset and labelled nowhere in it. Their IoU is 0 there, which says nothing of the whole
set. So the estimate is made twice, with these classes and without them, and the interval covers both. It is wider than
necessary where the truth is near one of the two, and the two meet as more classes are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from segzoo.evaluation.counts import Counts

FEWEST_IMAGES = 10
_LEAST_SEEN = 0.5  # of the classes must be labelled somewhere in the subset
_MOST_ALONE = 0.4  # of those may be labelled in a single image
_BLOCK = 50  # choices that are computed at once, for the sake of memory


def interval(counts: Sequence[Counts], of: int, level: float = 0.95, draws: int = 200, seed: int = 0) -> tuple[float, float] | None:
    """Low and high end in percent for the mIoU over all `of` images, from some images that were chosen without regard to their counts.

    None where the counts say too little: with fewer than FEWEST_IMAGES images, fewer than half of the classes
    labelled, or many classes labelled in one image only.
    """
    intersect, pred, label = (np.stack(arrays).astype(float) for arrays in zip(*(one.arrays for one in counts), strict=True))
    if _too_little(label):
        return None
    union = pred + label - intersect
    halves = list(_halves(len(counts), draws, seed))
    quantile = NormalDist().inv_cdf(0.5 + level / 2)
    lows, highs = [], []
    for evidence in (union, label):
        centre, deviation = _centre_and_deviation(_cells(intersect, union, evidence), halves, of)
        lows.append(centre - quantile * deviation)
        highs.append(centre + quantile * deviation)
    return float(100 * max(min(lows), 0)), float(100 * min(max(highs), 1))


def _too_little(label: np.ndarray) -> bool:
    """Whether the labels (images, classes) of a subset show too few of the classes, or too many of them only once."""
    images_with = (label > 0).sum(0)
    seen = images_with > 0
    return len(label) < FEWEST_IMAGES or seen.mean() < _LEAST_SEEN or bool((images_with[seen] == 1).mean() > _MOST_ALONE)


def _halves(images: int, draws: int, seed: int) -> list[np.ndarray]:
    """Random halves of the images, in blocks (_BLOCK, images): 1 for each image in the half, 0 for the others."""
    random = np.random.default_rng(seed)
    orders = [random.random((_BLOCK, images)).argsort(1).argsort(1) for _ in range(0, draws, _BLOCK)]
    return [(order < images // 2).astype(float) for order in orders]


@dataclass(frozen=True)
class _Cells:
    """What each image adds to each class, where it adds anything: one cell for each (class, image), sorted by class.

    `evidence` counts pixels like `union`. A class without evidence in a choice of images does not enter its mIoU.
    """

    classes: np.ndarray
    images: np.ndarray
    number: int
    first: np.ndarray
    intersect: np.ndarray
    union: np.ndarray
    evidence: np.ndarray

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Sums of values (d, cells) over each class's cells: (d, classes)."""
        return np.add.reduceat(values, self.first, axis=1)


def _cells(intersect: np.ndarray, union: np.ndarray, evidence: np.ndarray) -> _Cells:
    """The cells of counts (images, classes); classes that no image has are left out."""
    occurring = union.any(0)
    classes, images = np.nonzero(union[:, occurring].T)
    values = (one[:, occurring][images, classes] for one in (intersect, union, evidence))
    return _Cells(classes, images, len(union), np.searchsorted(classes, np.arange(occurring.sum())), *values)


@dataclass(frozen=True)
class _Totals:
    """The pixels of each class over each choice of images, (d, classes), and which classes have evidence there."""

    intersect: np.ndarray
    union: np.ndarray
    evidence: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        return self.evidence > 0

    @property
    def iou(self) -> np.ndarray:
        return np.where(self.counted, _ratio(self.intersect, self.union), 0)


def _ratio(intersect: np.ndarray, union: np.ndarray) -> np.ndarray:
    return intersect / np.where(union > 0, union, 1)


def _centre_and_deviation(cells: _Cells, halves: Sequence[np.ndarray], of: int) -> tuple[float, float]:
    """The estimate from all images of a subset, and its standard deviation by the estimates from random halves.

    The variance of the halves is that of half as many images from the subset; it is scaled to the subset as drawn from
    `of` images. The doubt about classes of one image is added as if it were two standard deviations.
    """
    (centre,), (doubt,) = _estimates(cells, np.ones((1, cells.number)), of)
    half = cells.number // 2
    spread = np.concatenate([_estimates(cells, block, of)[0] for block in halves]).var()
    variance = spread * (1 - cells.number / of) / (cells.number / half - 1) + doubt**2 / 4
    return centre, variance**0.5


def _estimates(cells: _Cells, choices: np.ndarray, of: int) -> tuple[np.ndarray, np.ndarray]:
    """For choices (d, images) with as many ones each: the corrected mIoU (d,), and the doubt (d,) about classes of one image."""
    images = choices[0].sum()
    finite = (1 - images / of) * (images - 1) / images  # (n - 1) / n is the jackknife's; from all images there is nothing to correct
    weight = choices[:, cells.images]
    totals = _Totals(*(cells.by_class(weight * one) for one in (cells.intersect, cells.union, cells.evidence)))
    only = _only_image(cells, totals)
    bias = finite * cells.by_class(_moves_without(cells, totals, only) * weight)
    pull = finite * cells.by_class(_moves_to_the_mean(cells, totals, only) * weight)
    corrected = np.where(totals.counted, totals.iou - bias - pull / 2, 0)
    number = _number(totals)
    return corrected.sum(1) / number, np.abs(pull.sum(1)) / number


def _number(totals: _Totals) -> np.ndarray:
    """How many classes enter each mIoU, (d,); 1 where none does."""
    return np.maximum(totals.counted.sum(1), 1)


def _only_image(cells: _Cells, totals: _Totals) -> np.ndarray:
    """Whether a cell has all the evidence of its class in a choice, (d, cells)."""
    return (totals.evidence[:, cells.classes] <= cells.evidence) & (cells.evidence > 0)


def _moves_without(cells: _Cells, totals: _Totals, only: np.ndarray) -> np.ndarray:
    """How the IoU of a cell's class moves when the cell's image is left out, (d, cells); 0 where no other image has the class."""
    intersect = totals.intersect[:, cells.classes] - cells.intersect
    union = totals.union[:, cells.classes] - cells.union
    others = totals.counted[:, cells.classes] & ~only
    return np.where(others, _ratio(intersect, union) - totals.iou[:, cells.classes], 0)


def _moves_to_the_mean(cells: _Cells, totals: _Totals, only: np.ndarray) -> np.ndarray:
    """How the IoU of a class of one image would move to the mean of all classes, (d, cells); 0 for the others."""
    mean = (totals.iou.sum(1) / _number(totals))[:, None]
    return np.where(only, mean - totals.iou[:, cells.classes], 0)
