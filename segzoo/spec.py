"""A tensor without its numbers."""

import math
import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Spec:
    """A tensor without its numbers: shape and numpy dtype name."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _width(self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@cache
def _width(dtype: str) -> int:
    """Bytes of one number."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0] if bits else 8) // 8
