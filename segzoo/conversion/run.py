"""A plan carried out: one target tensor at a time, from arrays that are read when they are needed.

Pure: arrays in, arrays out. Numbers are moved, never computed.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from einops import rearrange

from segzoo.conversion.axes import Dimension, dimensions
from segzoo.conversion.detect import Found
from segzoo.conversion.plan import Neutral, Plan, Step
from segzoo.errors import ConversionError
from segzoo.formats.arrays import NUMPY_DTYPES, copy
from segzoo.layouts.rule import Buffer, Rule, axes_of


def run(plan: Plan, source: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Make the tensors of a plan, one at a time; views where nothing must move.

    Raises ConversionError before the first where the source has numbers that the target has no place for.
    """
    for must in plan.musts:
        part = unpack(must.part.home, source[must.part.home.key], plan.sizes)[must.part.place]
        if not (part == must.value).all():
            raise ConversionError(f"{must.part.home.key}: layout '{plan.layout.name}' has no place for it, and it is not full of {must.value}")
    for step in plan.steps:
        yield step.rule.key, make(step, source.__getitem__, plan.sizes)
    for key, (buffer, places) in plan.buffers.items():
        yield key, buffer_of(buffer, plan.sizes, places)


def make(step: Step, read: Callable[[str], np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """One target tensor: its parts unpacked from the source, packed by the target's rule."""
    opened: dict[str, list[np.ndarray]] = {}
    parts = []
    for part in step.parts:
        if isinstance(part, Neutral):
            parts.append(np.full(part.shape, part.value, NUMPY_DTYPES.get(step.spec.dtype, step.spec.dtype)))
            continue
        if part.home.key not in opened:
            opened[part.home.key] = unpack(part.home, read(part.home.key), sizes)
        parts.append(opened[part.home.key][part.place])
    return pack(step.rule, parts, sizes)


def buffer_of(buffer: Buffer, sizes: Mapping[str, int], places: Mapping[str, int]) -> np.ndarray:
    """What a buffer must be at these sizes."""
    return np.array(buffer.value(sizes, places), np.int64)


def check_buffers(found: Found, source: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """Raises ConversionError for a buffer of a file that is not what the sizes make of it."""
    for key, (buffer, places) in found.buffers.items():
        if not np.array_equal(source[key], buffer_of(buffer, sizes, places)):
            raise ConversionError(
                f"{key}: not what it must be for a model of this size", hint="it follows from the sizes, so the file was edited or is damaged"
            )


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
