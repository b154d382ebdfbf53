"""Which images of an evaluation are the best, the median and the worst ones, and pictures of them.

The model sees each of these images again. The pictures are image, label, prediction, and the pixels where the two disagree.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from segzoo.datasets.classes import Classes
from segzoo.datasets.decode import read_pair
from segzoo.datasets.image import as_rgb
from segzoo.datasets.sample import Sample, ignored
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import Counts, counts_of, mean_iou
from segzoo.evaluation.evaluator import Evaluator
from segzoo.publishing.overlay import labelled, tinted

PANELS = ("image", "label", "prediction", "disagreement")
_WIDEST = 420
_WRONG = np.array([208, 32, 48], np.float32)


@dataclass(frozen=True)
class SeenAgain:
    """An image of the evaluation, predicted again. `iou` is the image's own mIoU in percent, over the classes in it. `wrong` is the
    share of wrong pixels in percent. `same` tells whether the prediction's counts equal the receipt's. `panels` are JPEG files
    in the order of PANELS.
    """

    which: str
    name: str
    iou: float
    wrong: float
    same: bool
    panels: Sequence[bytes]
    classes: Mapping[str, tuple[int, int, int]]


def extremes(per_image: Mapping[str, Counts], worst: int = 1) -> dict[str, str]:
    """The names of the best, the median and the `worst` worst images, by their own mIoU. Images without labels are left out.

    After the worst come "worst-2" and so on, as far as there are more images than those that stand here already.
    """
    scored = sorted((-mean_iou(one), name) for name, one in per_image.items() if one.label.sum())
    if not scored:
        return {}
    places = {"best": 0, "median": (len(scored) - 1) // 2, "worst": len(scored) - 1}
    further = [place for place in range(len(scored) - 2, -1, -1) if place not in places.values()][: worst - 1]
    places |= {f"worst-{rank}": place for rank, place in enumerate(further, 2)}
    return {which: scored[place][1] for which, place in places.items()}


def see_again(evaluator: Evaluator, sample: Sample, which: str, expected: Counts, classes: Classes, mode: str) -> SeenAgain:
    """Run one image through the model again, and draw it. Raises EnvironmentFault for an image that cannot be read."""
    image, label = read_pair(sample, evaluator.classes, evaluator.channels)
    found = evaluator.label_map(image, mode)
    shown = as_rgb(image)
    counted = label != ignored(evaluator.classes)
    wrong = counted & (found != label)
    panels = [Image.fromarray(shown), labelled(shown, label, counted, classes), tinted(shown, found, classes), _apart(shown, wrong, counted)]
    occurring = sorted({*np.unique(label[counted]).tolist(), *np.unique(found).tolist()})
    names = list(classes)
    return SeenAgain(
        which=which,
        name=sample.name,
        iou=mean_iou(expected),
        wrong=100 * float(wrong.sum() / max(counted.sum(), 1)),
        same=counts_of(confusion(torch.from_numpy(found).long(), label, evaluator.classes).numpy()) == expected,
        panels=[_jpeg(panel) for panel in panels],
        classes={names[index]: classes[names[index]] for index in occurring},
    )


def _apart(image: np.ndarray, wrong: np.ndarray, counted: np.ndarray) -> Image.Image:
    """Wrong pixels in red on the faded image. Pixels without a label are darker; they are not counted."""
    grey = image.astype(np.float32).mean(2, keepdims=True) * 0.3 + 178 * np.where(counted, 1.0, 0.6)[..., None].astype(np.float32)
    return Image.fromarray(np.where(wrong[..., None], _WRONG, grey.repeat(3, 2)).clip(0, 255).astype(np.uint8))


def _jpeg(panel: Image.Image) -> bytes:
    panel.thumbnail((_WIDEST, 2 * _WIDEST))
    file = io.BytesIO()
    panel.save(file, "JPEG", quality=88)
    return file.getvalue()
