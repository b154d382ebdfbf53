"""Between which figures the mIoU of a whole data set lies, by the counts of some of its images.

The trouble is classes that few images have: most of them are missing from a small subset or hang on one image
of it, so that the subset's own mIoU is biased, and a bootstrap of it covers the truth half as often as it says.
Here each class's ratio is corrected by the jackknife, one that hangs on a single image is pulled halfway to the
mean of the others, and the spread is that of the same estimate over random halves, which have no image twice.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from segzoo.miou import Counts

FEWEST_IMAGES = 10
_LEAST_SEEN = 0.5  # of the classes must be labelled somewhere in the subset
_MOST_ALONE = 0.4  # of those may hang on a single image


def interval(counts: Sequence[Counts], of: int, level: float = 0.95, draws: int = 200, seed: int = 0) -> tuple[float, float] | None:
    """Low and high end in percent for the mIoU over all `of` images from the counts of some, drawn without regard to them.

    None where these say too little of the classes: with fewer than FEWEST_IMAGES, fewer than half of the
    classes labelled, or many labelled in one image only.
    """
    intersect, pred, label = (np.stack(arrays).astype(float) for arrays in zip(*(one.arrays for one in counts), strict=True))
    images_with = (label > 0).sum(0)
    seen = images_with > 0
    if len(counts) < FEWEST_IMAGES or seen.mean() < _LEAST_SEEN or (images_with[seen] == 1).mean() > _MOST_ALONE:
        return None
    estimates = _Estimates(intersect, pred + label - intersect, of)
    (centre,), (doubt,) = estimates(np.ones((1, len(counts))))
    half = len(counts) // 2
    random = np.random.default_rng(seed)
    halves = []
    for _ in range(0, draws, 50):  # in blocks, for the sake of memory
        order = random.random((50, len(counts))).argsort(1).argsort(1)
        halves.append(estimates((order < half).astype(float))[0])
    variance = np.concatenate(halves).var() * (1 - len(counts) / of) / (len(counts) / half - 1) + doubt**2 / 4
    reach = NormalDist().inv_cdf(0.5 + level / 2) * variance**0.5
    return float(100 * max(centre - reach, 0)), float(100 * min(centre + reach, 1))


class _Estimates:
    """The corrected mIoU of any choice among some images; the sums go over the cells (class, image) that are not empty."""

    def __init__(self, intersect: np.ndarray, union: np.ndarray, of: int):
        occurring = union.any(0)
        intersect, union = intersect[:, occurring], union[:, occurring]
        self.of = of
        self.classes, self.images = np.nonzero(union.T)
        self.intersect, self.union = intersect[self.images, self.classes], union[self.images, self.classes]
        self.first = np.searchsorted(self.classes, np.arange(union.shape[1]))

    def __call__(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For choices (d, n) of as many ones each: the estimates (d,), and how much is in doubt about classes of one image."""
        count = chosen[0].sum()
        weight = chosen[:, self.images]
        intersect, union = self._by_class(weight * self.intersect), self._by_class(weight * self.union)
        occurring = union > 0
        number = np.maximum(occurring.sum(1), 1)
        ratio = intersect / np.where(occurring, union, 1)
        # each class without each of its images: the jackknife's bias, as far as there is an image left
        rest = union[:, self.classes] - self.union
        alone = rest <= 0
        mine = ratio[:, self.classes]
        others = (ratio.sum(1) / number)[:, None]
        without = (intersect[:, self.classes] - self.intersect) / np.where(alone, 1, rest)
        finite = (1 - count / self.of) * (count - 1) / count
        bias = finite * self._by_class(np.where(alone, 0, without - mine) * weight)
        leaving = finite * self._by_class(np.where(alone, others - mine, 0) * weight)
        corrected = np.where(occurring, ratio - bias - leaving / 2, 0)
        return corrected.sum(1) / number, np.abs(leaving.sum(1)) / number

    def _by_class(self, cells: np.ndarray) -> np.ndarray:
        return np.add.reduceat(cells, self.first, axis=1)
