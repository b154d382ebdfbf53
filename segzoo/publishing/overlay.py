"""What a model sees in an image: a label map, the share of each class, and a picture that a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from segzoo.evaluation.evaluator import Evaluator
from segzoo.publishing.legend import Classes, legend
from segzoo.publishing.reduced import bands, reduced, reduced_labels, reduction

_OPACITY = 0.6


@dataclass(frozen=True)
class Prediction:
    """A label map (h, w) uint16 of class indices; the share of each class in percent, the largest first; and the pixels of each class."""

    labels: np.ndarray
    shares: dict[str, float]
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def predict(evaluator: Evaluator, image: np.ndarray, classes: Classes, mode: str = "ss") -> Prediction:
    """The classes of an RGB image uint8 (h, w, 3), by the same protocol as the model's figures."""
    labels = evaluator.label_map(image, mode)
    pixels = pixels_of(labels, len(classes))
    return Prediction(labels, shares(pixels, classes), pixels)


def pixels_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of a label map each class has, int64 (classes,)."""
    found = np.zeros(classes, np.int64)
    for rows in bands(*labels.shape):
        found += np.bincount(labels[rows].ravel(), minlength=classes)
    return found


def shares(pixels: np.ndarray, classes: Classes) -> dict[str, float]:
    """The share in percent of each class that has pixels, the largest first."""
    names, whole = list(classes), int(pixels.sum())
    order = sorted(np.flatnonzero(pixels), key=lambda index: (-pixels[index], index))
    return {names[index]: round(100 * float(pixels[index]) / whole, 2) for index in order}


def overlay(image: np.ndarray, prediction: Prediction, classes: Classes, original: bool = False) -> Image.Image:
    """The image tinted by class, beside a column of the classes found, each with its share; with `original`, the image itself first.

    A huge image is drawn smaller, see `reduction`.
    """
    k = reduction(image.shape[:2], 1 + original)
    small = reduced(image, k)
    panels = [tinted(small, reduced_labels(prediction.labels, k), classes)]
    if original:
        panels.insert(0, Image.fromarray(small))
    column = legend({name: [share] for name, share in prediction.shares.items()}, classes, *small.shape[:2])
    return beside(panels, column)


def tinted(image: np.ndarray, labels: np.ndarray, classes: Classes) -> Image.Image:
    """The image uint8 (h, w, 3), each pixel mixed with the colour of its class."""
    colours = np.array(list(classes.values()), np.float32) * np.float32(_OPACITY)
    found = np.empty(image.shape, np.uint8)
    for rows in bands(*labels.shape):
        found[rows] = (image[rows] * np.float32(1 - _OPACITY) + colours[labels[rows]]).round()
    return Image.fromarray(found)


def beside(panels: Sequence[Image.Image], column: Image.Image) -> Image.Image:
    """Pictures from left to right, a few pixels apart, on white."""
    parts, gap = [*panels, column], 6
    sheet = Image.new("RGB", (sum(part.width for part in parts) + gap * (len(parts) - 1), max(part.height for part in parts)), "white")
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + gap
    return sheet
