"""How a plan is carried out: one target tensor at a time, from arrays that are read when they are needed.

Arrays go in and arrays come out. Numbers are moved, never computed.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from einops import rearrange

from segzoo.conversion.axes import joint, lengths
from segzoo.conversion.detect import Found
from segzoo.conversion.plan import Neutral, Plan, Step
from segzoo.errors import ConversionError
from segzoo.formats.arrays import NUMPY_DTYPES, copy
from segzoo.layouts.rule import Buffer, Rule, axes_of


def run(plan: Plan, source: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Make the tensors of a plan, one at a time. An array is a view of the source if nothing must move.

    Raises ConversionError before the first tensor if the source has numbers that the target has no place for.
    """
    check_musts(plan, source)
    for step in plan.steps:
        yield step.rule.key, make(step, source.__getitem__, plan.sizes)
    for key, (buffer, places) in plan.buffers.items():
        yield key, buffer_of(buffer, plan.sizes, places)


def check_musts(plan: Plan, source: Mapping[str, np.ndarray]) -> None:
    """Raises ConversionError if the source has numbers that the target has no place for."""
    for must in plan.musts:
        part = unpack(must.part.home, source[must.part.home.key], plan.sizes)[must.part.place]
        if not (part == must.value).all():
            raise ConversionError(f"{must.part.home.key}: layout '{plan.layout.name}' has no place for it, and it is not full of {must.value}")


def make(step: Step, read: Callable[[str], np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """Make one target tensor: unpack its parts from the source, and pack them by the target's rule."""
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
    return np.asarray(buffer.value(sizes, places), np.int64)


def check_buffers(found: Found, source: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """Raises ConversionError for a buffer in the file that is not what it must be at these sizes."""
    for key, (buffer, places) in found.buffers.items():
        if not np.array_equal(source[key], buffer_of(buffer, sizes, places)):
            raise ConversionError(
                f"{key}: not what it must be for a model of this size", hint="it follows from the sizes, so the file was edited or is damaged"
            )


def unpack(rule: Rule, array: np.ndarray, sizes: Mapping[str, int]) -> list[np.ndarray]:
    """The canonical tensors in a layout's tensor, in the order of `rule.holds`."""
    if joined := joint(rule):
        place, terms = joined
        whole = _turn(array, _whole(rule.native), _whole(rule.canonical), 1, sizes)
        return np.split(whole, np.cumsum(lengths(terms, sizes))[:-1], place)
    turned = _turn(array, rule.native, rule.canonical, len(rule.holds), sizes)
    return list(turned) if "s" in axes_of(rule.axes) else [turned]


def pack(rule: Rule, parts: list[np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """A layout's tensor from its canonical tensors: the inverse of `unpack`."""
    if joined := joint(rule):
        return _turn(np.concatenate(parts, joined[0]), _whole(rule.canonical), _whole(rule.native), 1, sizes)
    array = parts[0]
    if "s" in axes_of(rule.axes):
        array = np.empty((len(parts), *parts[0].shape), parts[0].dtype)
        for part, place in zip(parts, array, strict=True):
            copy(part, place)
    return _turn(array, rule.canonical, rule.native, len(rule.holds), sizes)


def _whole(side: str) -> str:
    """One side of a pattern, with one axis `whole` for a sum such as `1+n`."""
    return re.sub(r"\S*\+\S*", "whole", side)


def _turn(array: np.ndarray, left: str, right: str, stacked: int, sizes: Mapping[str, int]) -> np.ndarray:
    """The array rearranged from the axes `left` to the axes `right`; a view if einops can."""
    if left == right:
        return array
    known = {**sizes, "s": stacked}
    return rearrange(array, f"{left} -> {right}", **{axis: known[axis] for axis in axes_of(left) if axis in known})
