"""Do two files hold the same weights? They may be in two layouts and two formats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.fit import left_out
from segzoo.conversion.metadata import recorded
from segzoo.conversion.plan import steps_for
from segzoo.conversion.run import make
from segzoo.errors import ConversionError
from segzoo.formats import Weights, naming
from segzoo.formats.arrays import identical
from segzoo.layouts.family import Geometry


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
    try:
        here, there = _detected("A", left), _detected("B", right)
    except ConversionError:
        if left.keys().isdisjoint(right.keys()):
            raise
        return _by_name(left, right)
    if (here.layout, here.prefix, here.sections) == (there.layout, there.prefix, there.sections):
        return _by_name(left, right)
    return _across(_measured("A", left, here), _measured("B", right, there))


@dataclass(frozen=True)
class _Side:
    """One of two files in different layouts."""

    weights: Weights
    found: Found
    geometry: Geometry
    sizes: dict[str, int]

    @property
    def held(self) -> set[str]:
        """The names of the canonical tensors in it."""
        return {name for rule in self.found.rules.values() for name in rule.holds}

    def idle(self, key: str) -> bool:
        """Whether no forward pass uses a tensor."""
        return any(self.found.layout.family.idle_of(name) for name in self.found.rules[key].holds)

    def neutral(self, key: str) -> bool:
        """Whether a file without this tensor means the same as a file that has it full of one number."""
        return not self.idle(key) and all(self.found.layout.family.neutral_of(name) is not None for name in self.found.rules[key].holds)

    def lacked_by(self, other: "_Side") -> set[str]:
        """The names of its tensors that the other file has no part of. A tensor is not lacked if its absence has a meaning of its own."""
        held = other.held
        return {key for key, rule in self.found.rules.items() if held.isdisjoint(rule.holds) and not self.neutral(key)}

    def without_place_in(self, other: "_Side") -> set[str]:
        """The names of its tensors that the other file's layout has no place for, or that no forward pass uses."""
        sections = {key for section in left_out(self.found, other.found.layout) for key in self.found.keys(section)}
        return sections | {key for key in self.found.rules if self.idle(key)}


def _across(left: _Side, right: _Side) -> Comparison:
    """Compare two files in different layouts. Raises ConversionError if they are of two families, or of two widths."""
    if left.found.layout.family is not right.found.layout.family:
        raise ConversionError(f"A is a {left.found.layout.family.title}, B is a {right.found.layout.family.title}: two models")
    widths = [side.sizes.get("d") for side in (left, right)]
    if widths[0] != widths[1]:
        raise ConversionError(f"A has width {widths[0]}, B has width {widths[1]}: two models", hint="segzoo inspect shows each")
    left, right = _sharing_sizes(left, right), _sharing_sizes(right, left)
    only_left, only_right = left.lacked_by(right), right.lacked_by(left)
    not_in_right, not_in_left = left.without_place_in(right), right.without_place_in(left)
    beyond = (only_left & not_in_right) | (only_right & not_in_left) | set(left.found.beside) | set(right.found.beside)
    return replace(
        _by_name(*_under_one_set_of_names(left, right)),
        only_left=tuple(sorted(only_left - not_in_right)),
        only_right=tuple(sorted(only_right - not_in_left)),
        beyond=tuple(sorted(beyond)),
    )


def _under_one_set_of_names(left: _Side, right: _Side) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What both files hold, as two dicts with the same names: B's tensors are made as A names them.

    Some tensors of B cannot be made so, since A lacks a neutral part of them. For those, A's are made as B names them.
    """
    as_left = _in_layout_of(left, right)
    reached = {name for key in as_left for name in left.found.rules[key].holds}
    as_right = {key: array for key, array in _in_layout_of(right, left).items() if not reached.issuperset(right.found.rules[key].holds)}
    ours = {key: left.weights[key] for key in as_left} | {f"{key} of B": array for key, array in as_right.items()}
    theirs = as_left | {f"{key} of B": right.weights[key] for key in as_right}
    return ours, theirs


def _sharing_sizes(side: _Side, other: _Side) -> _Side:
    """A side with the sizes that only the other layout shows, such as the attention heads."""
    return replace(side, sizes={**other.sizes, **side.sizes})


def _in_layout_of(side: _Side, other: _Side) -> dict[str, np.ndarray]:
    """The tensors of the other file under this side's names: those that it has all parts of, neutral parts that it lacks filled in."""
    used = {key: rule for key, rule in side.found.rules.items() if not side.idle(key) or not other.held.isdisjoint(rule.holds)}
    steps = steps_for(used, other.found, other.weights.specs, other.sizes, neutral=True)
    return {step.rule.key: make(step, other.weights.__getitem__, other.sizes) for step in steps}


def _detected(side: str, weights: Weights) -> Found:
    with naming(weights.path, side):
        return detect(weights.specs, positions=recorded(weights).positions)


def _measured(side: str, weights: Weights, found: Found) -> _Side:
    with naming(weights.path, side):
        return _Side(weights, found, *measure(found, weights.specs, recorded(weights).heads))


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
