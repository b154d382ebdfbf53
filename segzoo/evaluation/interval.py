"""Between which figures the mIoU of a whole data set lies, by the counts of some of its images.

The trouble is classes that few images have: most of them are missing from a small subset or hang on one image
of it, so that the subset's own mIoU is biased, and a bootstrap of it covers the truth half as often as it says.
Here each class's ratio is corrected by the jackknife, one that hangs on a single image is pulled halfway to the
mean of the others, and the spread is that of the same estimate over random halves, which have no image twice.

Of a class that is predicted in some images, but labelled in none of them, they do not say how good it is over all. So
this is done twice, with such classes as they are, at 0, and without them; the interval reaches over both. It is wider
than it need be where the truth is near one of the two, and narrows to one as the classes are seen.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from segzoo.evaluation.counts import Counts

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
    union = pred + label - intersect
    half = len(counts) // 2
    random = np.random.default_rng(seed)
    orders = [random.random((50, len(counts))).argsort(1).argsort(1) for _ in range(0, draws, 50)]  # in blocks, for the sake of memory
    lows, highs = [], []
    for counting in (union, label):
        estimates = _Estimates(intersect, union, counting, of)
        (centre,), (doubt,) = estimates(np.ones((1, len(counts))))
        halves = np.concatenate([estimates((order < half).astype(float))[0] for order in orders])
        variance = halves.var() * (1 - len(counts) / of) / (len(counts) / half - 1) + doubt**2 / 4
        reach = NormalDist().inv_cdf(0.5 + level / 2) * variance**0.5
        lows.append(centre - reach)
        highs.append(centre + reach)
    return float(100 * max(min(lows), 0)), float(100 * min(max(highs), 1))


class _Estimates:
    """The corrected mIoU of any choice among some images, over the classes of which `counting`, a count of pixels like the
    union, has any; the sums go over the cells (class, image) that are not empty.
    """

    def __init__(self, intersect: np.ndarray, union: np.ndarray, counting: np.ndarray, of: int):
        occurring = union.any(0)
        self.of = of
        self.classes, self.images = np.nonzero(union[:, occurring].T)
        self.intersect, self.union, self.counting = (one[:, occurring][self.images, self.classes] for one in (intersect, union, counting))
        self.first = np.searchsorted(self.classes, np.arange(occurring.sum()))

    def __call__(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For choices (d, n) of as many ones each: the estimates (d,), and how much is in doubt about classes of one image."""
        count = chosen[0].sum()
        weight = chosen[:, self.images]
        intersect, union, counting = (self._by_class(weight * one) for one in (self.intersect, self.union, self.counting))
        counted = counting > 0
        number = np.maximum(counted.sum(1), 1)
        ratio = np.where(counted, intersect / np.where(union > 0, union, 1), 0)
        # each class without each of its images: the jackknife's bias, as far as there is an image left
        alone = (counting[:, self.classes] <= self.counting) & (self.counting > 0)
        several = counted[:, self.classes] & ~alone
        mine = ratio[:, self.classes]
        others = (ratio.sum(1) / number)[:, None]
        rest = union[:, self.classes] - self.union
        without = (intersect[:, self.classes] - self.intersect) / np.where(rest > 0, rest, 1)
        finite = (1 - count / self.of) * (count - 1) / count
        bias = finite * self._by_class(np.where(several, without - mine, 0) * weight)
        leaving = finite * self._by_class(np.where(alone, others - mine, 0) * weight)
        corrected = np.where(counted, ratio - bias - leaving / 2, 0)
        return corrected.sum(1) / number, np.abs(leaving.sum(1)) / number

    def _by_class(self, cells: np.ndarray) -> np.ndarray:
        return np.add.reduceat(cells, self.first, axis=1)
