"""What a model sees in an image: a label map, the share of each class, and, where they are asked for, the scores."""

from dataclasses import dataclass, field

import numpy as np
import torch

from segzoo.datasets.classes import Classes
from segzoo.evaluation.evaluator import Evaluator

_AT_ONCE = 1 << 20  # pixels that are counted at a time


@dataclass(frozen=True)
class Prediction:
    """What a model sees in an image of h x w pixels.

    `labels` (h, w) are class indices, in the order of `classes`. `shares` are percents of the pixels, the largest first, of the
    classes that have some. `scores`, where asked for, are float32 (classes, h, w): logits, or the mean of probabilities where the
    mode or the protocol takes several views or a softmax. `pixels` counts those of each class.
    """

    labels: np.ndarray
    shares: dict[str, float]
    classes: Classes
    scores: np.ndarray | None = None
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def predict(evaluator: Evaluator, image: np.ndarray, classes: Classes, mode: str = "ss", scores: bool = False) -> Prediction:
    """The classes of an RGB image uint8 (h, w, 3), by the same protocol as the model's figures.

    Raises EnvironmentFault for an image that is too thin or does not fit in memory.
    """
    bands: list[torch.Tensor] = []
    labels = evaluator.label_map(image, mode, bands.append if scores else None)
    kept = torch.cat(bands).transpose(0, 1).contiguous().cpu().numpy() if scores else None
    pixels = pixels_of(labels, len(classes))
    return Prediction(labels, shares(pixels, classes), classes, kept, pixels)


def pixels_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of a label map each class has, int64 (classes,)."""
    found = np.zeros(classes, np.int64)
    step = max(_AT_ONCE // labels.shape[1], 1)
    for top in range(0, len(labels), step):
        found += np.bincount(labels[top : top + step].ravel(), minlength=classes)
    return found


def shares(pixels: np.ndarray, classes: Classes) -> dict[str, float]:
    """The share in percent of each class that has pixels, the largest first."""
    names, whole = list(classes), int(pixels.sum())
    order = sorted(np.flatnonzero(pixels), key=lambda index: (-pixels[index], index))
    return {names[index]: round(100 * float(pixels[index]) / whole, 2) for index in order}
