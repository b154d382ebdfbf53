"""How large each axis of a file is, by the shapes of all its tensors, and what geometry that makes."""

import math
from collections.abc import Mapping
from dataclasses import replace

from segzoo.conversion.detect import Found
from segzoo.errors import ConversionError
from segzoo.layouts import head_of, neck_of
from segzoo.layouts.dimensions import Dimension, dimensions
from segzoo.layouts.family import Geometry, Measured
from segzoo.layouts.rule import Rule
from segzoo.spec import Spec


def joint(rule: Rule) -> tuple[int, Dimension] | None:
    """The canonical dimension on which a rule joins the tensors that it holds, and its terms, one a tensor; None if it joins nothing."""
    return next(((place, terms) for place, terms in enumerate(dimensions(rule.canonical)) if len(terms) > 1), None)


def lengths(terms: Dimension, sizes: Mapping[str, int]) -> list[int]:
    """How long each of the joined tensors is. The axis "1" has no size of its own and counts as 1."""
    return [math.prod(sizes.get(axis, 1) for axis in term) for term in terms]


class Axes:
    """The sizes found so far, and for each the tensor that showed it first. `fixed` has the axes with one size in every file of the family."""

    def __init__(self, fixed: Mapping[str, int] | None = None) -> None:
        self.found: dict[str, int] = dict(fixed or {})
        self.origin: dict[str, str] = dict.fromkeys(self.found, "every file")

    def bind(self, axis: str, size: int, key: str) -> None:
        """Note that the tensor `key` shows this size. Raises ConversionError if another tensor showed another one."""
        known = self.found.setdefault(axis, size)
        first = self.origin.setdefault(axis, key)
        if known != size:
            raise ConversionError(f"{key}: axis '{axis}' is {size} here, but {known} in {first}")

    def read_all(self, rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> None:
        """Find the sizes in all shapes. A dimension with several unknown axes waits until other tensors have shown all but one of them.

        Raises ConversionError where shapes contradict each other, or nothing shows an axis.
        """
        waiting = list(rules.values())
        while waiting:
            unclear = [rule for rule in waiting if not self.read(rule, specs[rule.key].shape)]
            if len(unclear) == len(waiting):
                raise ConversionError(f"{unclear[0].key}: no shape tells the sizes of its axes ({unclear[0].native}) apart")
            waiting = unclear

    def read(self, rule: Rule, shape: tuple[int, ...]) -> bool:
        """Find the sizes in the shape of one tensor. False if one of its dimensions has several unknown axes: read it again later."""
        dims = dimensions(rule.native)
        expected = f"{rule.key}: expected axes ({rule.native}), found shape {list(shape)}"
        if len(dims) != len(shape):
            raise ConversionError(expected)
        clear = True
        for terms, size in zip(dims, shape, strict=True):
            if size == 0:
                raise ConversionError(f"{rule.key}: an empty axis in shape {list(shape)}")
            clear &= self._dimension(terms, size, rule, expected)
        return clear

    def _dimension(self, terms: Dimension, size: int, rule: Rule, expected: str) -> bool:
        """Solve "the terms add up to `size`" for the one axis that is not known; False if several are not known."""
        known = {"1": 1, "s": len(rule.holds)}
        axes = {axis for term in terms for axis in term} - known.keys()
        if len(axes) > 1:  # a single axis counts as unknown even if it is known: then `bind` compares, and names both tensors of a clash
            known |= self.found
        unknown = axes - known.keys()
        if len(unknown) > 1:
            return False
        fixed = sum(math.prod(known[axis] for axis in term) for term in terms if unknown.isdisjoint(term))
        if not unknown:
            if size != fixed:
                raise ConversionError(expected)
            return True
        factor = sum(math.prod(known[axis] for axis in term if axis in known) for term in terms if not unknown.isdisjoint(term))
        each, left = divmod(size - fixed, factor)
        if left or each < 1:
            raise ConversionError(f"{rule.key}: {size} does not divide into the {len(rule.holds)} tensors it should hold")
        self.bind(unknown.pop(), each, rule.key)
        return True


def measure(found: Found, specs: Mapping[str, Spec], heads: int | tuple[int, ...] | None = None) -> tuple[Geometry, dict[str, int]]:
    """The geometry of a file and the size of every axis in it.

    `heads` is the number that the caller knows (from a manifest, or `--heads`), or one a stage; it must agree with what the layout shows.
    Raises ConversionError that names the tensor whose shape disagrees.
    """
    family = found.layout.family
    axes = Axes(family.fixed)
    axes.read_all(found.rules, specs)
    geometry = family.measure(Measured(axes.found, axes.origin, found.depths, found.sections, found.absent), heads)
    parts = {"neck": neck_of(found.sections), "decoder": head_of(found.sections)}
    geometry = replace(geometry, **{name: part.measure(axes.found, found.depths) for name, part in parts.items() if part})
    return geometry, axes.found
