"""A file of weights, opened and understood."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segzoo.conversion.detect import Found
from segzoo.formats import Weights
from segzoo.layouts.vit.geometry import Geometry

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Read:
    """A file of weights that is what it should be."""

    opened: Weights
    found: Found
    geometry: Geometry
