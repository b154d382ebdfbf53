"""A plan carried out: one target tensor at a time, from arrays that are read when they are needed."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from einops import rearrange

from segzoo.conversion.axes import Dimension, dimensions
from segzoo.conversion.plan import Plan, Step
from segzoo.formats.arrays import copy
from segzoo.layouts import Rule
from segzoo.layouts.rule import axes_of


def run(plan: Plan, source: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Make the tensors of a plan, one at a time; views where nothing must move."""
    for step in plan.steps:
        yield step.rule.key, make(step, source.__getitem__, plan.sizes)


def make(step: Step, read: Callable[[str], np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """One target tensor: its parts unpacked from the source, packed by the target's rule."""
    opened: dict[str, list[np.ndarray]] = {}
    for home, _ in step.parts:
        if home.key not in opened:
            opened[home.key] = unpack(home, read(home.key), sizes)
    return pack(step.rule, [opened[home.key][place] for home, place in step.parts], sizes)


def unpack(rule: Rule, array: np.ndarray, sizes: Mapping[str, int]) -> list[np.ndarray]:
    """The canonical tensors in one of a layout."""
    if joint := _joint(rule):
        axis, terms = joint
        ends = np.cumsum([math.prod(sizes.get(axis, 1) for axis in term) for term in terms])
        return np.split(array, ends[:-1], axis)
    turned = _turn(array, rule.native, rule.canonical, len(rule.holds), sizes)
    return list(turned) if "s" in axes_of(rule.axes) else [turned]


def pack(rule: Rule, parts: list[np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """The inverse of `unpack`."""
    if joint := _joint(rule):
        return np.concatenate(parts, joint[0])
    array = parts[0]
    if "s" in axes_of(rule.axes):
        array = np.empty((len(parts), *parts[0].shape), parts[0].dtype)
        for part, place in zip(parts, array, strict=True):
            copy(part, place)
    return _turn(array, rule.canonical, rule.native, len(rule.holds), sizes)


def _joint(rule: Rule) -> tuple[int, Dimension] | None:
    """The axis on which a rule joins what it holds, and the terms there; None where it joins nothing."""
    return next(((axis, terms) for axis, terms in enumerate(dimensions(rule.native)) if len(terms) > 1), None)


def _turn(array: np.ndarray, left: str, right: str, stacked: int, sizes: Mapping[str, int]) -> np.ndarray:
    if left == right:
        return array
    known = {**sizes, "s": stacked}
    return rearrange(array, f"{left} -> {right}", **{axis: known[axis] for axis in axes_of(left)})
