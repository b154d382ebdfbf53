"""Do two files hold the same weights? They may be in two layouts and two formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from segzoo.conversion.checkpoint import Checkpoint, detected, measured
from segzoo.conversion.detect import Found
from segzoo.conversion.fit import left_out
from segzoo.conversion.plan import steps_for
from segzoo.conversion.run import make
from segzoo.errors import ConversionError
from segzoo.formats import Weights, naming
from segzoo.formats.arrays import identical
from segzoo.layouts.rule import Rule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unequal:
    """A tensor that both files have and that differs. `largest` is the greatest absolute difference, found at `place`; NaN if the shapes differ."""

    key: str
    why: str
    largest: float = float("nan")
    place: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """How many tensors are equal, and which are not.

    `only_left` and `only_right` name the tensors of one file that the other lacks, each in its own file's layout. `beyond` names those
    that the other file's layout has no place for: they do not make the files different.
    """

    equal: int
    unequal: tuple[Unequal, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    beyond: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every tensor that both layouts can hold is in both files, and equal bit for bit."""
        return bool(self.equal) and not (self.unequal or self.only_left or self.only_right)


def compare(left: Weights, right: Weights) -> Comparison:
    """Compare two opened files: across layouts if both are in one, by name if one of them is in none.

    Errors call `left` A and `right` B. Raises ConversionError if one of them is in no layout and they have no name in common.
    """
    sides = (("A", left), ("B", right))
    try:
        here, there = (_named(side, detected, weights) for side, weights in sides)
    except ConversionError:
        if left.keys().isdisjoint(right.keys()):
            raise
        return _by_name(left, right)
    if (here.layout, here.prefix, here.sections) == (there.layout, there.prefix, there.sections):
        return _by_name(left, right)
    return _across(_named("A", measured, left, here), _named("B", measured, right, there))


def _named(side: str, step: Callable[..., T], weights: Weights, *more: Any) -> T:
    """A step of identifying a file, whose errors call it by its side."""
    with naming(weights.path, side):
        return step(weights, *more)


def _across(left: Checkpoint, right: Checkpoint) -> Comparison:
    """Compare two files in different layouts. Raises ConversionError if they are of two families, or of two widths."""
    if left.family is not right.family:
        raise ConversionError(f"A is a {left.family.title}, B is a {right.family.title}: two models")
    widths = [getattr(side.geometry, left.family.width) for side in (left, right)]
    if widths[0] != widths[1]:
        raise ConversionError(f"A has width {widths[0]}, B has width {widths[1]}: two models", hint="segzoo inspect shows each")
    left, right = _sharing_sizes(left, right), _sharing_sizes(right, left)
    only_left, only_right = _lacked(left.found, right.found), _lacked(right.found, left.found)
    not_in_right, not_in_left = _without_place(left.found, right.found), _without_place(right.found, left.found)
    beyond = (only_left & not_in_right) | (only_right & not_in_left) | set(left.found.beside) | set(right.found.beside)
    return replace(
        _by_name(*_under_one_set_of_names(left, right)),
        only_left=tuple(sorted(only_left - not_in_right)),
        only_right=tuple(sorted(only_right - not_in_left)),
        beyond=tuple(sorted(beyond)),
    )


def _idle(found: Found, rule: Rule) -> bool:
    """Whether no forward pass uses a tensor."""
    return any(found.layout.family.idle_of(name) for name in rule.holds)


def _lacked(found: Found, other: Found) -> set[str]:
    """The names of a file's tensors that the other file has no part of.

    A tensor is not lacked if its absence means the same as a tensor full of one number.
    """
    held, neutral_of = other.held, found.layout.family.neutral_of
    apart = {key: rule for key, rule in found.rules.items() if held.isdisjoint(rule.holds)}
    return {key for key, rule in apart.items() if _idle(found, rule) or any(neutral_of(name) is None for name in rule.holds)}


def _without_place(found: Found, other: Found) -> set[str]:
    """The names of a file's tensors that the other file's layout has no place for, or that no forward pass uses."""
    sections = {key for section in left_out(found, other.layout) for key in found.keys(section)}
    return sections | {key for key, rule in found.rules.items() if _idle(found, rule)}


def _under_one_set_of_names(left: Checkpoint, right: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What both files hold, as two dicts with the same names: B's tensors are made as A names them.

    Some tensors of B cannot be made so, since A lacks a neutral part of them. For those, A's are made as B names them.
    """
    as_left = _in_layout_of(left, right)
    reached = {name for key in as_left for name in left.found.rules[key].holds}
    as_right = {key: array for key, array in _in_layout_of(right, left).items() if not reached.issuperset(right.found.rules[key].holds)}
    ours = {key: left.weights[key] for key in as_left} | {f"{key} of B": array for key, array in as_right.items()}
    theirs = as_left | {f"{key} of B": right.weights[key] for key in as_right}
    return ours, theirs


def _sharing_sizes(side: Checkpoint, other: Checkpoint) -> Checkpoint:
    """A side with the sizes that only the other layout shows, such as the attention heads."""
    return replace(side, sizes={**other.sizes, **side.sizes})


def _in_layout_of(side: Checkpoint, other: Checkpoint) -> dict[str, np.ndarray]:
    """The tensors of the other file under this side's names: those that it has all parts of, neutral parts that it lacks filled in."""
    held, beyond = other.found.held, _without_place(side.found, other.found)
    used = {key: rule for key, rule in side.found.rules.items() if key not in beyond or not held.isdisjoint(rule.holds)}
    steps = steps_for(used, other.found, other.weights.specs, other.sizes, neutral=True)
    return {step.rule.key: make(step, other.weights.__getitem__, other.sizes) for step in steps}


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
