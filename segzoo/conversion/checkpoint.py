"""The one way to open a file of weights: opened, its own records read, its layout detected, its sizes measured, each once."""

from dataclasses import dataclass
from pathlib import Path

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.metadata import Recorded, recorded
from segzoo.errors import ConversionError
from segzoo.formats import Weights, open_weights
from segzoo.layouts.family import Family, Geometry


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, understood: its tensors, what it records of itself, its layout, and the sizes of its axes."""

    weights: Weights
    recorded: Recorded
    found: Found
    geometry: Geometry
    sizes: dict[str, int]

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of its weights, sorted: counts and buffers are none."""
        return sorted({self.weights.specs[key].dtype for key, rule in self.found.rules.items() if rule.native})

    @property
    def family(self) -> Family:
        return self.found.layout.family


def identify(path: str | Path, *, heads: int | None = None, positions: int | None = None) -> Checkpoint:
    """Open a file and understand it. `heads` and `positions` are what the caller knows; what the file records is taken otherwise.

    Raises what opening a file raises, ConversionError for tensors in no layout, or of sizes that do not fit together.
    """
    return identified(open_weights(path), heads=heads, positions=positions)


def identified(weights: Weights, *, layout: str | None = None, heads: int | None = None, positions: int | None = None) -> Checkpoint:
    """The same for a file that is open; `layout` is the one to read it as."""
    known = recorded(weights)
    if heads is not None and known.heads not in (None, heads):
        raise ConversionError(f"the file itself records {known.heads} heads, but {heads} were given")
    found = detect(weights.specs, layout, positions or known.positions)
    geometry, sizes = measure(found, weights.specs, heads or known.heads)
    return Checkpoint(weights, known, found, geometry, sizes)
