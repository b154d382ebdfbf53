"""What a model sees in an image: a label map, the share of each class, and, where they are asked for, the scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from segzoo.datasets.classes import Classes
from segzoo.datasets.image import as_rgb, read_image
from segzoo.errors import EnvironmentFault
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


def predict_file(
    path: Path, models: Sequence[tuple[Evaluator, Classes]], mode: str, said: Callable[[str], None]
) -> tuple[np.ndarray, list[Prediction]]:
    """The image in a file as a person is shown it, RGB uint8 (h, w, 3), and what each model sees in it. `said` hears what was passed over.

    Raises EnvironmentFault, which names the file, where it cannot be read or is too large.
    """
    try:
        images = {channels: read_image(path, channels, said) for channels in dict.fromkeys(evaluator.channels for evaluator, _ in models)}
        found = [predict(evaluator, images[evaluator.channels], classes, mode) for evaluator, classes in models]
        return as_rgb(next(iter(images.values()))), found
    except MemoryError as error:
        raise EnvironmentFault(f"{path}: out of memory", hint="make it smaller, or cut it into pieces") from error
    except EnvironmentFault as error:
        if str(path) in error.message:
            raise
        raise EnvironmentFault(f"{path}: {error.message}", error.hint) from error


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
