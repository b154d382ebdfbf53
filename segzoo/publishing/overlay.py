"""What a model sees in an image, as pictures: a label map, and an overlay that a person can read."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from segzoo.datasets.classes import Classes
from segzoo.evaluation.prediction import Prediction
from segzoo.publishing.legend import legend
from segzoo.publishing.reduced import bands, reduced, reduced_labels, reduction

_OPACITY = 0.6


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


def labelled(image: np.ndarray, label: np.ndarray, counts: np.ndarray, classes: Classes) -> Image.Image:
    """The image tinted by its labels. Pixels that do not count keep their colour: `counts` (h, w) says which do."""
    coloured = np.asarray(tinted(image, np.where(counts, label, 0), classes))
    return Image.fromarray(np.where(counts[..., None], coloured, image))


def beside(panels: Sequence[Image.Image], column: Image.Image) -> Image.Image:
    """Pictures from left to right, a few pixels apart, on white."""
    parts, gap = [*panels, column], 6
    sheet = Image.new("RGB", (sum(part.width for part in parts) + gap * (len(parts) - 1), max(part.height for part in parts)), "white")
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + gap
    return sheet
