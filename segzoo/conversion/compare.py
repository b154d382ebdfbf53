"""Whether two files hold the same weights, across layouts and formats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.metadata import recorded
from segzoo.conversion.plan import fill, left_out
from segzoo.conversion.run import make
from segzoo.errors import ConversionError
from segzoo.formats import Weights, naming
from segzoo.formats.arrays import identical
from segzoo.layouts.vit.geometry import Geometry


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

    In words they are A and B. Raises ConversionError where the two have no name in common and one of them is in no layout.
    """
    try:
        here, there = _detected("A", left), _detected("B", right)
    except ConversionError:
        if left.keys().isdisjoint(right.keys()):
            raise
        return _by_name(left, right)
    if (here.layout, here.prefix, here.sections) == (there.layout, there.prefix, there.sections):
        return _by_name(left, right)
    (ours, sizes), (theirs, others) = _measured("A", left, here), _measured("B", right, there)
    if ours.width != theirs.width:
        raise ConversionError(f"A has width {ours.width}, B has width {theirs.width}: two models", hint="segzoo inspect shows each")
    heads: dict[str, int] = {axis: one[axis] for one in (others, sizes) for axis in ("h", "k") if axis in one}
    sizes, others = {**sizes, **heads}, {**others, **heads}
    steps = fill(here.rules, there, right.specs, others)
    reached = {name for step in steps for name in step.rule.holds}
    rest = [step for step in fill(there.rules, here, left.specs, sizes) if not reached.issuperset(step.rule.holds)]
    mine = {step.rule.key: left[step.rule.key] for step in steps}
    mine |= {f"{step.rule.key} of B": make(step, left.__getitem__, sizes) for step in rest}
    other = {step.rule.key: make(step, right.__getitem__, others) for step in steps}
    other |= {f"{step.rule.key} of B": right[step.rule.key] for step in rest}
    held = [{name for rule in found.rules.values() for name in rule.holds} for found in (here, there)]
    alone = [{key for key, rule in found.rules.items() if names.isdisjoint(rule.holds)} for found, names in ((here, held[1]), (there, held[0]))]
    outside = [{key for section in left_out(one, two.layout) for key in one.keys(section)} for one, two in ((here, there), (there, here))]
    only_left, only_right = (tuple(sorted(keys - out)) for keys, out in zip(alone, outside, strict=True))
    beyond = {key for keys, out in zip(alone, outside, strict=True) for key in keys & out} | set(here.beside) | set(there.beside)
    return replace(_by_name(mine, other), only_left=only_left, only_right=only_right, beyond=tuple(sorted(beyond)))


def _detected(side: str, weights: Weights) -> Found:
    with naming(weights.path, side):
        return detect(weights.specs, positions=recorded(weights).positions)


def _measured(side: str, weights: Weights, found: Found) -> tuple[Geometry, dict[str, int]]:
    with naming(weights.path, side):
        return measure(found.rules, weights.specs, found.depths, recorded(weights).heads)


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
