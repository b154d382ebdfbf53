"""Whether two files hold the same weights, across layouts and formats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from segzoo.errors import ConversionError
from segzoo.formats import Weights
from segzoo.geometry import measure
from segzoo.remap import detect, fill, left_out, make


@dataclass(frozen=True, slots=True)
class Unequal:
    """A tensor that both have and that differs. `largest` is the greatest absolute difference, at `place`; NaN where shapes differ."""

    key: str
    why: str
    largest: float = float("nan")
    place: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """`only_left` and `only_right` name tensors, each in its own file's layout; `beyond` those that the other layout cannot hold."""

    equal: int
    unequal: tuple[Unequal, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    beyond: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Every tensor that both layouts can hold is there on both sides, and equal bit for bit."""
        return bool(self.equal) and not (self.unequal or self.only_left or self.only_right)


def compare(left: Weights, right: Weights) -> Comparison:
    """Compare two opened files: in the layout of `left` where both are in one, by name where one of them is in none.

    Raises ConversionError where the two have no name in common and one of them is in no layout.
    """
    try:
        here, there = detect(left.specs), detect(right.specs)
    except ConversionError:
        if left.keys().isdisjoint(right.keys()):
            raise
        return _by_name(left, right)
    if (here.layout, here.prefix) == (there.layout, there.prefix):
        return _by_name(left, right)
    heads = measure(here.rules, left.specs, here.depths)[0].heads
    _, sizes = measure(there.rules, right.specs, there.depths, heads)
    steps = fill(here.rules, there, right.specs, sizes)
    theirs = {step.rule.key: make(step, right.__getitem__, sizes) for step in steps}
    mine = {step.rule.key for step in fill(there.rules, here, left.specs, sizes)}  # those of the right that the left has
    outside = {key for found, other in ((here, there), (there, here)) for section in left_out(found, other.layout) for key in found.keys(section)}
    found = _by_name({key: left[key] for key in left if key in theirs or key not in outside}, theirs)
    lacking = sorted(there.rules.keys() - mine - outside)
    beyond = sorted(outside - theirs.keys() - mine)
    return replace(found, only_right=tuple(lacking), beyond=tuple(beyond))


def _by_name(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> Comparison:
    unequal = [found for key in left if key in right and (found := _differ(key, left[key], right[key]))]
    only_left, only_right = (tuple(sorted(names)) for names in (left.keys() - right.keys(), right.keys() - left.keys()))
    return Comparison(len(left) - len(only_left) - len(unequal), tuple(unequal), only_left, only_right)


def _differ(key: str, left: np.ndarray, right: np.ndarray) -> Unequal | None:
    if left.shape != right.shape:
        return Unequal(key, f"shape {list(left.shape)} and {list(right.shape)}")
    if identical(left, right):
        return None
    gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
    place = np.unravel_index(int(np.nanargmax(gap)) if np.isfinite(gap).any() else 0, gap.shape) if gap.size else ()
    largest = float(gap[place]) if gap.size else 0.0
    why = f"dtype {left.dtype.name} and {right.dtype.name}" if left.dtype != right.dtype else "values"
    return Unequal(key, why, largest, tuple(int(index) for index in place))


def identical(mine: np.ndarray, theirs: np.ndarray) -> bool:
    """Same dtype, shape and bytes; a NaN equals itself."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return False
    left, right = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (mine, theirs))
    return np.array_equal(left, right)
