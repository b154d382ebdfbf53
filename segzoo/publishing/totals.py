"""How many pixels each class has, in an image and in all images together; as CSV too."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from segzoo.datasets.classes import Classes
from segzoo.evaluation.prediction import Prediction, shares
from segzoo.text import legible

HEADER = ("image", "model", "index", "class", "pixels", "percent")
ALL = "all images"
_FORMULA = ("=", "+", "-", "@")


@dataclass
class Totals:
    """The pixels of each class over all images, for each model of these names and classes."""

    models: Sequence[tuple[str, Classes]]
    images: int = 0
    pixels: list[np.ndarray] = field(default_factory=list)

    def add(self, found: Sequence[Prediction]) -> None:
        self.images += 1
        before = self.pixels or [np.zeros_like(one.pixels) for one in found]
        self.pixels = [pixels + one.pixels for pixels, one in zip(before, found, strict=True)]

    @property
    def shares(self) -> list[tuple[str, dict[str, float]]]:
        """The share of each class in percent, for each model."""
        return [(name, shares(pixels, classes)) for (name, classes), pixels in zip(self.models, self.pixels, strict=True)]


def rows(image: str, models: Sequence[tuple[str, Classes]], pixels: Sequence[np.ndarray]) -> Iterator[tuple[object, ...]]:
    """The rows of a table, as HEADER names them: one for each model and class that has pixels, the largest first."""
    for (name, classes), of in zip(models, pixels, strict=True):
        names, whole = list(classes), int(of.sum())
        for index in sorted(np.flatnonzero(of), key=lambda index: (-of[index], index)):
            yield image, name, int(index), names[index], int(of[index]), round(100 * float(of[index]) / whole, 4)


def _cell(text: str) -> str:
    """A text with a ' before a sign that makes spreadsheets run it."""
    return f"'{legible(text)}" if text.startswith(_FORMULA) else legible(text)


def as_csv(table: Iterable[Sequence[object]]) -> list[str]:
    """A table as lines of CSV, one for each row. Its texts are legible, and none is a formula to a spreadsheet."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) if isinstance(value, str) else value for value in row] for row in table)
    return text.getvalue().split("\n")[:-1]
