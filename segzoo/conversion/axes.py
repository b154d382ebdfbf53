"""The sizes of axes, unified over the tensors of a file."""

import math
import re
from collections.abc import Mapping
from typing import Any

from segzoo.errors import ConversionError
from segzoo.layouts.rule import Depths, Rule
from segzoo.layouts.vit.geometry import Decoder, Geometry
from segzoo.spec import Spec

Dimension = tuple[tuple[str, ...], ...]


def dimensions(side: str) -> list[Dimension]:
    """One side of a pattern, each dimension as the terms that add up to it, each term as the axes that multiply.

    `"(s e) d"` gives `[(("s", "e"),), (("d",),)]`, and `"1+n"` gives `[(("1",), ("n",))]`.
    """
    return [tuple(tuple(term.strip("()").split()) for term in found.split("+")) for found in re.findall(r"\([^)]*\)|\S+", side)]


class Sizes:
    """Axis sizes found so far, each with the tensor that showed it first."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self.origin: dict[str, str] = {}

    def bind(self, axis: str, size: int, key: str) -> None:
        known = self.found.setdefault(axis, size)
        first = self.origin.setdefault(axis, key)
        if known != size:
            raise ConversionError(f"{key}: axis '{axis}' is {size} here, but {known} in {first}")

    def read(self, rule: Rule, shape: tuple[int, ...]) -> None:
        """Unify one tensor's shape with the axes of its rule."""
        dims = dimensions(rule.native)
        expected = f"{rule.key}: expected axes ({rule.native}), found shape {list(shape)}"
        if len(dims) != len(shape):
            raise ConversionError(expected)
        known = {"1": 1, "s": len(rule.holds)}
        for terms, size in zip(dims, shape, strict=True):
            if size == 0:
                raise ConversionError(f"{rule.key}: an empty axis in shape {list(shape)}")
            named = [term for term in terms if not known.keys() >= set(term)]
            rest = size - sum(math.prod(known[axis] for axis in term) for term in terms if term not in named)
            if not named and rest:
                raise ConversionError(expected)
            for term in named:
                axis = next(axis for axis in term if axis not in known)
                each, left = divmod(rest, math.prod(known[axis] for axis in term if axis in known))
                if left or each < 1:
                    raise ConversionError(f"{rule.key}: {size} does not divide into the {len(rule.holds)} tensors it should hold")
                self.bind(axis, each, rule.key)


def shape_of(side: str, sizes: Mapping[str, int], stacked: int = 1) -> tuple[int, ...]:
    """The shape that one side of a pattern has at these sizes."""
    known = {**sizes, "s": stacked, "1": 1}
    return tuple(sum(math.prod(known[axis] for axis in term) for term in terms) for terms in dimensions(side))


def measure(rules: Mapping[str, Rule], specs: Mapping[str, Spec], depths: Depths, heads: int | None = None) -> tuple[Geometry, dict[str, int]]:
    """The geometry of a file and the size of every axis in it.

    `heads` is what the caller knows (a manifest, `--heads`); it must agree with what the layout shows.
    Raises ConversionError naming the tensor whose shape disagrees.
    """
    if not depths.encoder:
        raise ConversionError("no block of the encoder is in it")
    sizes = Sizes()
    for key, rule in rules.items():
        sizes.read(rule, specs[key].shape)
    found, origin = sizes.found, sizes.origin
    width = found["d"]
    if heads is not None and "h" in found and found["h"] != heads:
        raise ConversionError(f"{origin['h']}: shows {found['h']} heads, but {heads} were given")
    if heads is not None and "h" not in found:
        if heads < 1 or width % heads:
            raise ConversionError(f"{heads} heads do not divide a width of {width}")
        found["h"], found["k"] = heads, width // heads
    found.setdefault("e", found["h"] * found["k"] if "h" in found else width)
    for axis, must, why in (
        ("e", width, "the attention width must equal the width"),
        ("y", found["x"], "patches must be square"),
        ("r", None if any("pre_logits.weight" in rule.holds for rule in rules.values()) else width, "the classifier must fit the width"),
    ):
        if axis in found and must is not None and found[axis] != must:
            raise ConversionError(f"{origin.get(axis, origin['d'])}: {why}: {found[axis]} is not {must}")
    return _named(found, depths), found


def _named(found: Mapping[str, int], depths: Depths) -> Geometry:
    decoder = None
    if "c" in found:
        masked: dict[str, Any] = {"depth": depths.decoder, "width": found["f"], "mlp": found.get("o")} if "f" in found else {}
        decoder = Decoder(kind="mask" if masked else "linear", classes=found["c"], **masked)
    return Geometry(
        width=found["d"],
        depth=depths.encoder,
        heads=found.get("h"),
        mlp=found["m"],
        patch=found["x"],
        positions=found["n"],
        classes=found.get("classes"),
        decoder=decoder,
        residual=depths.units if "root" in found else None,
    )
