"""Whether two evaluations say the same: close calls that explain unequal counts, and the share of pixels with the same class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from segzoo.datasets.decode import read_pair
from segzoo.datasets.image import read_image
from segzoo.datasets.sample import Sample, ignored
from segzoo.evaluation.counts import Counts
from segzoo.evaluation.evaluator import Evaluator

# A difference between the two best scores of a pixel below which another order of additions may pick the other class.
MARGIN = 2e-5
# The same where the network rounds more. On the minis such a difference was up to 0.03 in bf16 and 0.003 in fp16.
_MARGINS = {"bf16": 0.1, "fp16": 0.02, "tf32": 0.02}


def explained(evaluator: Evaluator, sample: Sample, found: Counts, expected: Counts, mode: str = "ss") -> tuple[bool, int]:
    """Whether close calls alone can explain that an image's counts are not the expected ones; and how many close calls there are.

    A close call is a pixel whose two best scores differ by less than a margin: MARGIN, or more in a lower precision, where
    another number of windows at once already rounds otherwise. A pixel that goes to another class changes each kind of count
    by at most two in sum.
    """
    image, label = read_pair(sample, evaluator.classes, evaluator.channels)
    best = evaluator.scores(image, mode).topk(2, dim=0).values.cpu()
    margin = _MARGINS.get(evaluator.precision, MARGIN)
    close = int(((best[0] - best[1] < margin).numpy() & (label != ignored(evaluator.classes))).sum())
    changed = [int(np.abs(mine - theirs).sum()) for mine, theirs in zip(found.arrays, expected.arrays, strict=True)]
    return changed[2] == 0 and max(changed) <= 2 * close, close


def agreement(one: Evaluator, other: Evaluator, chosen: Sequence[Sample], mode: str) -> dict[str, Any]:
    """The share of pixels to which two evaluators give the same class."""
    same = pixels = 0
    for sample in chosen:
        image = read_image(sample.image, one.channels)
        mine, theirs = (evaluator.scores(image, mode).argmax(0).cpu() for evaluator in (one, other))
        same, pixels = same + int((mine == theirs).sum()), pixels + mine.numel()
    return {"images": len(chosen), "pixels_percent": round(100 * same / pixels, 4)}
