"""Some of a data set's images: seeded, and of all sizes in proportion."""

import random
from collections.abc import Sequence
from itertools import pairwise

from segzoo.datasets.decode import size_of
from segzoo.datasets.sample import Sample


def subset(found: Sequence[Sample], images: int | None, seed: int = 0) -> list[Sample]:
    """So many images in order of their names; all of them where there are no more.

    Sorted by size and cut into as many runs of equal length, one is drawn from each run.
    """
    if images is None or images >= len(found):
        return list(found)
    by_size = sorted(found, key=lambda sample: (size_of(sample.image), sample.name))
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    bounds = [round(index * len(found) / images) for index in range(images + 1)]
    chosen = {by_size[draw.randrange(begin, end)].name for begin, end in pairwise(bounds)}
    return [sample for sample in found if sample.name in chosen]
