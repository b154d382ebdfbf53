"""Two models on one image: where they see different classes. Classes are paired by their names, never by their indices."""

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from segzoo.datasets.classes import Classes
from segzoo.errors import UsageError
from segzoo.evaluation.prediction import Prediction
from segzoo.publishing.legend import legend, titled
from segzoo.publishing.overlay import beside, tinted
from segzoo.publishing.reduced import bands, reduced, reduced_labels, reduction

_NO_NAME = re.compile(r"class \d+")


def pairing(classes: Sequence[Classes]) -> str | None:
    """What is to be said of two models' classes, which are paired by name; None if all have the same names.

    Raises UsageError where no class has the same name in both, and where names are only numbers and the numbers differ.
    """
    first, second = ({_plain(name) for name in one} for one in classes)
    both, sizes = len(first & second), f"{len(first)} and {len(second)}"
    unnamed = [all(_NO_NAME.fullmatch(name) for name in one) for one in (first, second)]
    if not both or (any(unnamed) and len(first) != len(second)):
        hint = "compare two models of the same data set, or segment with each alone"
        raise UsageError(f"their classes, {sizes}, have no names in common", hint=f"{hint}; --like NAME names the classes of your own file")
    if all(unnamed):
        return f"the {both} classes have no names in either: taken to be the same"
    if both == len(first) == len(second):
        return None
    return f"{both} of {sizes} classes have the same name in both; where either sees another one, they differ"


def _plain(name: str) -> str:
    return name.strip().casefold()


def disagreement(pair: Sequence[Prediction], classes: Sequence[Classes]) -> float:
    """The share of pixels, in percent, where two models predict classes with different names."""
    tables, labels = _common(classes), [one.labels for one in pair]
    different = sum(int(np.count_nonzero(_apart([one[rows] for one in labels], tables))) for rows in bands(*labels[0].shape))
    return round(100 * different / labels[0].size, 2)


def _common(classes: Sequence[Classes]) -> list[np.ndarray]:
    """For each model a number for each of its classes, equal where the names are equal."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(_plain(name), len(numbers)) for name in one], np.int32) for one in classes]


def _apart(labels: Sequence[np.ndarray], tables: Sequence[np.ndarray]) -> np.ndarray:
    """Where two label maps (h, w) have classes with different names, bool (h, w)."""
    first, second = (table[one] for table, one in zip(tables, labels, strict=True))
    return np.asarray(first != second)


def side_by_side(image: np.ndarray, pair: Sequence[Prediction], names: Sequence[str], classes: Sequence[Classes]) -> Image.Image:
    """Two models' pictures side by side, and a third that is faded where the two agree. A huge image is drawn smaller."""
    k = reduction(image.shape[:2], 3)
    small, labels = reduced(image, k), [reduced_labels(one.labels, k) for one in pair]
    panels = [tinted(small, one, its) for one, its in zip(labels, classes, strict=True)]
    panels.append(_faded(small, _apart(labels, _common(classes))))
    titles = [*names, f"they differ in {disagreement(pair, classes):.2f} %"]
    both = {name: [one.shares.get(name, 0.0) for one in pair] for one in pair for name in one.shares}
    column = legend(both, {**classes[1], **classes[0]}, *small.shape[:2])
    return beside([titled(panel, title) for panel, title in zip(panels, titles, strict=True)], column)


def _faded(image: np.ndarray, apart: np.ndarray) -> Image.Image:
    """The image, faded where `apart` is not."""
    found = image.copy()
    for rows in bands(*apart.shape):
        pale = (image[rows] * np.float32(0.25) + np.float32(255 * 0.75)).astype(np.uint8)
        found[rows] = np.where(apart[rows][..., None], image[rows], pale)
    return Image.fromarray(found)
