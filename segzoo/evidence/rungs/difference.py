"""How far an intermediate of a network may differ from another implementation's. Imports no JAX."""

from dataclasses import dataclass

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
