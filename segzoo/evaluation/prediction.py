"""What a model sees in an image: a label map, the share of each class, and, where they are asked for, the scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from segzoo.evaluation.evaluator import Evaluator

Classes = Mapping[str, tuple[int, int, int]]
"""The colour of each class, in the order of the indices."""


@dataclass(frozen=True)
class Prediction:
    """What a model sees in an image of h x w pixels.

    `labels` (h, w) are class indices, in the order of `classes`. `shares` are percents of the pixels, the largest first, of the
    classes that have some. `scores`, where asked for, are float32 (classes, h, w): logits, or the mean of probabilities where the
    mode or the protocol takes several views or a softmax.
    """

    labels: np.ndarray
    shares: dict[str, float]
    classes: Classes
    scores: np.ndarray | None = None


def predict(evaluator: Evaluator, image: np.ndarray, classes: Classes, mode: str = "ss", scores: bool = False) -> Prediction:
    """The classes of an RGB image uint8 (h, w, 3), by the same protocol as the model's figures.

    Raises EnvironmentFault for an image that is too thin or does not fit in memory.
    """
    bands: list[torch.Tensor] = []
    labels = evaluator.label_map(image, mode, bands.append if scores else None)
    kept = torch.cat(bands).transpose(0, 1).contiguous().cpu().numpy() if scores else None
    return Prediction(labels, shares_of(labels, classes), classes, kept)


def shares_of(labels: np.ndarray, classes: Classes) -> dict[str, float]:
    """The share in percent of each class that has pixels, the largest first."""
    pixels = np.bincount(labels.ravel(), minlength=len(classes))
    names = list(classes)
    order = sorted(np.flatnonzero(pixels), key=lambda index: (-pixels[index], index))
    return {names[index]: round(100 * float(pixels[index]) / labels.size, 2) for index in order}
