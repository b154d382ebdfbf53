"""A random choice of a data set's images, seeded, with small and large ones in proportion."""

import random
from collections.abc import Sequence
from itertools import pairwise

from segzoo.datasets.image import pixels_of
from segzoo.datasets.sample import Sample


def subset(found: Sequence[Sample], images: int | None, seed: int = 0) -> list[Sample]:
    """As many of the samples as `images` says, in their order; all of them if there are no more.

    The samples are sorted by size and cut into as many runs of equal length. One is drawn from each run.
    """
    if images is None or images >= len(found):
        return list(found)
    by_size = sorted(found, key=lambda sample: (pixels_of(sample.image), sample.name))
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    bounds = [round(index * len(found) / images) for index in range(images + 1)]
    chosen = {by_size[draw.randrange(begin, end)].name for begin, end in pairwise(bounds)}
    return [sample for sample in found if sample.name in chosen]
