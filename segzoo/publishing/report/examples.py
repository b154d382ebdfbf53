"""The best, the median and the worst image of an evaluation, seen again: image, label, prediction, and where the two disagree."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from segzoo.datasets.decode import read_pair
from segzoo.datasets.sample import IGNORED, Sample
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import Counts, counts_of, mean_iou
from segzoo.evaluation.evaluator import Evaluator
from segzoo.publishing.overlay import Classes, tinted

PANELS = ("image", "label", "prediction", "disagreement")
_WIDEST = 420
_WRONG = np.array([208, 32, 48], np.float32)


@dataclass(frozen=True)
class SeenAgain:
    """An image of the evaluation. `iou` is its own mIoU in percent, over the classes that occur in it; `same` whether the
    prediction's counts are those of the receipt; `panels` are JPEG files in the order of PANELS.
    """

    which: str
    name: str
    iou: float
    wrong: float
    same: bool
    panels: Sequence[bytes]
    classes: Mapping[str, tuple[int, int, int]]


def extremes(per_image: Mapping[str, Counts]) -> dict[str, str]:
    """The names of the best, the median and the worst image, by their own mIoU; of images without labels there is none."""
    scored = sorted((-mean_iou(one), name) for name, one in per_image.items() if one.label.sum())
    if not scored:
        return {}
    places = {"best": 0, "median": (len(scored) - 1) // 2, "worst": len(scored) - 1}
    return {which: scored[place][1] for which, place in places.items()}


def look(evaluator: Evaluator, sample: Sample, which: str, expected: Counts, classes: Classes, mode: str) -> SeenAgain:
    """One image through the model again, in pictures. Raises EnvironmentFault for an image that cannot be read."""
    image, label = read_pair(sample, evaluator.classes)
    found = evaluator.label_map(image, mode)
    known = label != IGNORED
    wrong = known & (found != label)
    panels = [Image.fromarray(image), _labelled(image, label, known, classes), tinted(image, found, classes), _apart(image, wrong, known)]
    occurring = sorted({*np.unique(label[known]).tolist(), *np.unique(found).tolist()})
    names = list(classes)
    return SeenAgain(
        which,
        sample.name,
        mean_iou(expected),
        100 * float(wrong.sum() / max(known.sum(), 1)),
        counts_of(confusion(torch.from_numpy(found).long(), label, evaluator.classes).numpy()) == expected,
        [_jpeg(panel) for panel in panels],
        {names[index]: classes[names[index]] for index in occurring},
    )


def _labelled(image: np.ndarray, label: np.ndarray, known: np.ndarray, classes: Classes) -> Image.Image:
    """The image tinted by its labels, and left as it is where there is none."""
    coloured = np.asarray(tinted(image, np.where(known, label, 0), classes))
    return Image.fromarray(np.where(known[..., None], coloured, image))


def _apart(image: np.ndarray, wrong: np.ndarray, known: np.ndarray) -> Image.Image:
    """What is wrong in red on the faded image; darker where nothing is labelled and so nothing is counted."""
    grey = image.astype(np.float32).mean(2, keepdims=True) * 0.3 + 178 * np.where(known, 1.0, 0.6)[..., None].astype(np.float32)
    return Image.fromarray(np.where(wrong[..., None], _WRONG, grey.repeat(3, 2)).clip(0, 255).astype(np.uint8))


def _jpeg(panel: Image.Image) -> bytes:
    panel.thumbnail((_WIDEST, 2 * _WIDEST))
    file = io.BytesIO()
    panel.save(file, "JPEG", quality=88)
    return file.getvalue()
