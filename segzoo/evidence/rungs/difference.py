"""How far an intermediate of a network, or a score, may differ from another implementation's. Imports neither torch nor JAX."""

from collections.abc import Sequence
from dataclasses import dataclass

Rows = Sequence[Sequence[float]]

# Largest difference, relative to the largest value (at least 1). A right rule stays below 1e-13 in
# float64 and 5e-6 in float32; the smallest wrong thing seen, one layer norm's eps, is 2.9e-8.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one intermediate differs, relative to its largest value."""

    name: str
    dtype: str
    relative: float

    @property
    def passed(self) -> bool:
        return self.relative <= TOLERANCE[self.dtype]  # a NaN does not pass


def apart(mine: Rows, published: Rows) -> float:
    """The largest difference between scores and published ones of the same places. Raises ValueError for another number of them."""
    return max(abs(one - other) for some, others in zip(mine, published, strict=True) for one, other in zip(some, others, strict=True))


def off(mine: Rows, published: Rows, tolerance: float) -> tuple[int, int] | None:
    """Row and column of the first score that is not the published one; None where all are. The bound is that of `torch.allclose`."""
    for row, (some, others) in enumerate(zip(mine, published, strict=True)):
        for column, (one, other) in enumerate(zip(some, others, strict=True)):
            if not abs(one - other) <= tolerance + 1e-5 * abs(other):  # a NaN is off
                return row, column
    return None
