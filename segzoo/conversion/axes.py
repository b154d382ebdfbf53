"""The sizes of axes, unified over the tensors of a file, and the geometry that they come to."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from segzoo.conversion.detect import Found
from segzoo.errors import ConversionError
from segzoo.layouts import head_of
from segzoo.layouts.family import Geometry, Measured
from segzoo.layouts.rule import Rule
from segzoo.spec import Spec

Dimension = tuple[tuple[str, ...], ...]


def dimensions(side: str) -> list[Dimension]:
    """One side of a pattern, each dimension as the terms that add up to it, each term as the axes that multiply.

    `"(s e) d"` gives `[(("s", "e"),), (("d",),)]`, and `"1+n"` gives `[(("1",), ("n",))]`.
    """
    return [tuple(tuple(term.strip("()").split()) for term in found.split("+")) for found in re.findall(r"\([^)]*\)|\S+", side)]


class Axes:
    """The sizes found so far, each with the tensor that showed it first. `fixed` has those that are the same in every file."""

    def __init__(self, fixed: Mapping[str, int] | None = None) -> None:
        self.found: dict[str, int] = dict(fixed or {})
        self.origin: dict[str, str] = dict.fromkeys(self.found, "every file")

    def bind(self, axis: str, size: int, key: str) -> None:
        known = self.found.setdefault(axis, size)
        first = self.origin.setdefault(axis, key)
        if known != size:
            raise ConversionError(f"{key}: axis '{axis}' is {size} here, but {known} in {first}")

    def read_all(self, rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> None:
        """Unify the shapes of all tensors. A dimension of several unknown axes waits until others have shown all but one of them."""
        waiting = list(rules.values())
        while waiting:
            unclear = [rule for rule in waiting if not self.read(rule, specs[rule.key].shape)]
            if len(unclear) == len(waiting):
                raise ConversionError(f"{unclear[0].key}: no shape tells the sizes of its axes ({unclear[0].native}) apart")
            waiting = unclear

    def read(self, rule: Rule, shape: tuple[int, ...]) -> bool:
        """Unify one tensor's shape with the axes of its rule; False where a dimension of it has several unknown axes."""
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
        known = {"1": 1, "s": len(rule.holds)}
        if len({axis for term in terms for axis in term} - known.keys()) > 1:  # one alone is bound, so that a clash names both tensors
            known |= self.found
        unknown = [term for term in terms if not known.keys() >= set(term)]
        if len({axis for term in unknown for axis in term} - known.keys()) > 1:
            return False
        rest = size - sum(math.prod(known[axis] for axis in term) for term in terms if term not in unknown)
        if not unknown and rest:
            raise ConversionError(expected)
        if unknown:
            axis = next(axis for axis in unknown[0] if axis not in known)
            each, left = divmod(rest, sum(math.prod(known[one] for one in term if one in known) for term in unknown))
            if left or each < 1:
                raise ConversionError(f"{rule.key}: {size} does not divide into the {len(rule.holds)} tensors it should hold")
            self.bind(axis, each, rule.key)
        return True


def shape_of(side: str, sizes: Mapping[str, int], stacked: int = 1) -> tuple[int, ...]:
    """The shape that one side of a pattern has at these sizes."""
    known = {**sizes, "s": stacked, "1": 1}
    return tuple(sum(math.prod(known[axis] for axis in term) for term in terms) for terms in dimensions(side))


def measure(found: Found, specs: Mapping[str, Spec], heads: int | None = None) -> tuple[Geometry, dict[str, int]]:
    """The geometry of a file and the size of every axis in it.

    `heads` is what the caller knows (a manifest, `--heads`); it must agree with what the layout shows.
    Raises ConversionError naming the tensor whose shape disagrees.
    """
    family = found.layout.family
    axes = Axes(family.fixed)
    axes.read_all(found.rules, specs)
    geometry = family.measure(Measured(axes.found, axes.origin, found.depths, found.sections), heads)
    if head := head_of(found.sections):
        geometry = replace(geometry, decoder=head.measure(axes.found, found.depths))
    return geometry, axes.found
