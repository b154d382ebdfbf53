"""A tensor without its numbers."""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """A tensor without its numbers: shape and numpy dtype name."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        width = 2 if self.dtype == "bfloat16" else int(re.sub(r"\D", "", self.dtype) or 8) // 8
        return math.prod(self.shape) * width

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
