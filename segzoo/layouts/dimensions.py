"""The patterns of rules as dimensions, and the shapes that they have at given sizes."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache

Dimension = tuple[tuple[str, ...], ...]


@lru_cache(4096)
def dimensions(side: str) -> tuple[Dimension, ...]:
    """One side of a pattern as its dimensions. A dimension is a sum of terms, and a term a product of axes.

    `"(s e) d"` gives `((("s", "e"),), (("d",),))`, and `"1+n"` gives `((("1",), ("n",)),)`.
    """
    return tuple(tuple(tuple(term.strip("()").split()) for term in found.split("+")) for found in re.findall(r"\([^)]*\)|\S+", side))


def shape_of(side: str, sizes: Mapping[str, int], stacked: int = 1) -> tuple[int, ...]:
    """The shape that one side of a pattern has at these sizes. `stacked` is the length of the axis `s`."""
    known = {**sizes, "s": stacked, "1": 1}
    return tuple(sum(math.prod(known[axis] for axis in term) for term in terms) for terms in dimensions(side))


def numbers_of(side: str, sizes: Mapping[str, int], stacked: int = 1) -> int:
    """How many numbers a tensor of this pattern has: the product of its shape."""
    factors, stacks = _factors(side)
    if factors is None:
        return math.prod(shape_of(side, sizes, stacked))
    return math.prod([sizes[axis] for axis in factors]) * stacked**stacks


@lru_cache(4096)
def _factors(side: str) -> tuple[tuple[str, ...] | None, int]:
    """The axes of a pattern of products, and how often `s` is among them. None for the axes where a dimension is a sum."""
    dims = dimensions(side)
    if any(len(terms) > 1 for terms in dims):
        return None, 0
    axes = [axis for (term,) in dims for axis in term]
    return tuple(axis for axis in axes if axis not in ("s", "1")), axes.count("s")
