"""What a file of weights is. This is the one way to open it: its own records are read, its layout is detected, its sizes are measured, each once."""

import math
from dataclasses import dataclass
from pathlib import Path

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.metadata import Recorded, recorded
from segzoo.errors import ConversionError
from segzoo.formats import Weights, open_weights
from segzoo.layouts.family import Family, Geometry, told

Positions = int | tuple[int, int]


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that is understood: its tensors, what it records of itself, its layout, its geometry and the sizes of its axes."""

    weights: Weights
    recorded: Recorded
    found: Found
    geometry: Geometry
    sizes: dict[str, int]

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of its weights, sorted. Counts of batches and buffers are no weights."""
        return sorted({self.weights.specs[key].dtype for key, rule in self.found.rules.items() if rule.native})

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of its grid of positions; None if there is none, or it is not known how the positions lie."""
        return getattr(self.geometry, "grid", None)

    @property
    def family(self) -> Family:
        return self.found.layout.family


def identify(path: str | Path, *, heads: int | None = None, positions: Positions | None = None, at: str | None = None) -> Checkpoint:
    """Open a file and understand it. `heads` and `positions` are numbers that the caller knows; without them the file's own records count.
    `positions` of the grid are their number, or rows and columns. `at` names the model in a file of several.

    Raises what `open_weights` raises, and ConversionError if the tensors are in no layout or their sizes do not fit together.
    """
    return identified(open_weights(path, at), heads=heads, positions=positions)


def identified(weights: Weights, *, layout: str | None = None, heads: int | None = None, positions: Positions | None = None) -> Checkpoint:
    """The same for a file that is open already. If `layout` is given, the file is read as that layout only."""
    known = recorded(weights)
    if heads is not None and known.heads not in (None, heads):
        raise ConversionError(f"the file itself records {known.heads} heads, but {heads} were given")
    return measured(weights, detected(weights, layout, positions), heads, positions)


def detected(weights: Weights, layout: str | None = None, positions: Positions | None = None) -> Found:
    """The first half of `identified`: the layout of a file."""
    positions = positions or recorded(weights).positions
    return detect(weights.specs, layout, math.prod(positions) if isinstance(positions, tuple) else positions)


def measured(weights: Weights, found: Found, heads: int | None = None, positions: Positions | None = None) -> Checkpoint:
    """The second half of `identified`: the sizes of a file whose layout is known."""
    known = recorded(weights)
    _refuse_quantised(weights, found)
    geometry, sizes = measure(found, weights.specs, heads or known.heads)
    return Checkpoint(weights, known, found, lying(geometry, positions or known.positions), sizes)


def _refuse_quantised(weights: Weights, found: Found) -> None:
    """Raises ConversionError for weights in integers: they stand for numbers that only their scales tell."""
    dtypes = {key: weights.specs[key].dtype for key, rule in found.rules.items() if rule.native}
    if wrong := next((key for key, dtype in dtypes.items() if "float" not in dtype), None):
        raise ConversionError(
            f"{wrong}: its dtype is {dtypes[wrong]}, expected floats",
            hint="integers are no weights without their scales: save the model before it is quantised",
        )


def lying(geometry: Geometry, positions: Positions | None) -> Geometry:
    """The geometry with the rows of its grid, if rows and columns are known. Raises ConversionError if they are not those of the tensors."""
    if not isinstance(positions, tuple) or not hasattr(geometry, "positions"):
        return geometry
    rows, columns = positions
    if rows * columns != geometry.positions:
        raise ConversionError(f"the grid has {geometry.positions} positions, and {rows} x {columns} are {rows * columns}")
    return told(geometry, {"rows": rows if rows != columns else None})
