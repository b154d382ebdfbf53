"""What size a plain ViT has: as its tensors show it, and as a person writes it in a manifest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import HeadGeometry, Measured, NeckGeometry, classified
from segzoo.layouts.rule import Depths


@dataclass(frozen=True, slots=True)
class Geometry:
    """A ViT's sizes. `positions` counts the grid's positions. `heads` is None if the number is not known.

    `rows` is how many rows of positions the grid has. No tensor shows it, and a square number of positions need not be a square grid:
    576 are 24 x 24, or 18 x 32. None stands for a square. `channels` are those of the image. `absent` names biases that the file lacks
    and others have; absent means zero.
    `final_norm` is whether a norm comes after the last block. `out_indices` are the blocks whose outputs a neck or head takes, counted
    from 0; None stands for the last one. The norm is in the output of the last block only. `class_token` is False if the class token is cut
    off before the first block, once it has its position; None stands for True.
    `registers` counts register tokens. `twists` are words of `TWISTS` for what a plain ViT has not, or lacks. `activation` is that of the MLP, one
    of `ACTIVATIONS`; None stands for the usual one, and is unknown where `activation_open`.
    `residual` is for hybrids: the number of units in each stage of the ResNet before the patch embedding. It is
    empty if there is only the ResNet's root, and None if there is no ResNet.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads", "rows", "out_indices", "class_token", "activation")
    left_over: ClassVar[tuple[str, ...]] = ("classes", "absent")

    width: int
    depth: int
    heads: int | None
    mlp: int
    patch: int
    positions: int
    classes: int | None = None
    decoder: HeadGeometry | None = None
    residual: tuple[int, ...] | None = None
    channels: int = 3
    rows: int | None = None
    absent: tuple[str, ...] = ()
    final_norm: bool = True
    out_indices: tuple[int, ...] | None = None
    neck: NeckGeometry | None = None
    class_token: bool | None = None
    registers: int = 0
    twists: tuple[str, ...] = ()
    activation: str | None = None

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the grid; None if the rows are not known and the number of positions is not a square."""
        rows = self.rows or math.isqrt(self.positions)
        return (rows, self.positions // rows) if self.rows or rows * rows == self.positions else None

    @property
    def activation_open(self) -> bool:
        """Whether models of these sizes differ in their activation: among those with a norm before the blocks some have QuickGELU, among those
        without a class token some have the tanh form of GELU. A gate always has SiLU.
        """
        return "SwiGLU" not in self.twists and not {"norm before the blocks", "no class token"}.isdisjoint(self.twists)

    @property
    def stride(self) -> int:
        """Pixels from one token to the next. The root of a ResNet has stride 4, each stage after the first has stride 2."""
        return self.patch if self.residual is None else self.patch * 4 * 2 ** max(len(self.residual) - 1, 0)

    def __str__(self) -> str:
        heads = self.heads if self.heads is not None else "unknown"
        grid = f"grid {side_by_side(self.grid)}" if self.grid else f"{self.positions} positions"
        parts = [f"width {self.width}", f"depth {self.depth}", f"heads {heads}", f"mlp {self.mlp}", f"patch {self.patch}", grid]
        if self.residual is not None:
            parts.append(f"ResNet of {'+'.join(map(str, self.residual))} units" if self.residual else "ResNet root")
            parts.append(f"stride {self.stride}")
        if self.channels != 3:
            parts.append(f"{self.channels} {'channel' if self.channels == 1 else 'channels'}")
        parts += [f"no {bias}" for bias in self.absent]
        parts += ["no final norm"] if not self.final_norm else []
        parts += ["no class token in its blocks"] if self.class_token is False else []
        parts += [f"{self.registers} registers"] if self.registers else []
        parts += [*self.twists, *([self.activation] if self.activation else [])]
        if self.classes is not None:
            parts.append(f"{self.classes} classes")
        parts += [str(part) for part in (self.neck, self.decoder) if part is not None]
        return ", ".join(parts)


TWISTS = (
    *("LayerScale", "SwiGLU", "norms of queries and keys", "norm before the blocks"),
    *("no class token", "no class position", "register positions"),
)
"""What a ViT may have beyond a plain one, or lack, as a manifest says it. A class token or registers without a position have none added."""
_SHOWN = {"layer scale": "LayerScale", "gated MLP": "SwiGLU"} | {name: name for name in ("norms of queries and keys", "norm before the blocks")}
ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu")
"""Of an MLP: the exact, erf form of GELU; its tanh form, as SigLIPs have; x * sigmoid(1.702 x), as OpenAI's CLIP has."""


def usual(geometry: Geometry) -> dict[str, str]:
    """What None stands for in a field of a manifest."""
    return {"activation": "silu" if "SwiGLU" in geometry.twists else "gelu"}


def unlike(geometry: Geometry, said: Mapping[str, Any]) -> dict[str, str]:
    """Where the network computes otherwise than a config says of the backbone: the names of such facts, and how it does."""
    activation, stride = said.get("activation"), said.get("stride", geometry.patch)
    if stride != geometry.patch:
        return {"stride": f"its patches of {geometry.patch} are {stride} apart and overlap, those of segzoo's network lie side by side"}
    if "SwiGLU" in geometry.twists and activation not in (None, "silu"):
        return {"activation": f"the gate of its MLP has {activation}, and segzoo's SiLU"}
    if "SwiGLU" not in geometry.twists and activation not in (None, *ACTIVATIONS):
        return {"activation": f"its MLP has {activation}, and segzoo's network one of {', '.join(ACTIVATIONS)}"}
    return {}


RESAMPLES = ("bicubic", "bilinear")
"""How programs resize position embeddings."""


def side_by_side(pair: tuple[int, int]) -> str:
    """Rows and columns, or height and width, as people write them: one number for a square."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _pair(side: int | tuple[int, int]) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


@dataclass(frozen=True)
class Sizes:
    """A backbone's geometry, as the tensors of its file must show it. `grid` is the side of its grid of positions, or rows and columns.

    `channels` are those of the image, 3 unless given. `absent` names biases that the file lacks. `final_norm` is whether a norm comes after
    the last block. `registers` counts register tokens. `twists` are words of `TWISTS`. `activation` is one of `ACTIVATIONS`, `gelu` unless given.
    """

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    grid: int | tuple[int, int]
    classes: int | None = None
    channels: int = 3
    absent: tuple[str, ...] = ()
    final_norm: bool = True
    registers: int = 0
    twists: tuple[str, ...] = ()
    activation: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown word."""
        _check_words(self)

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return _geometry(self, _pair(self.grid), head)


@dataclass(frozen=True)
class ModelBackbone:
    """A model's backbone; `image` is the side in pixels, or height and width, that its position embeddings are for, `classes` are
    those of a classifier that the file still carries, `channels` those of the image, 3 unless given. `absent` names biases that
    the file lacks, such as `patch bias`. `final_norm` is whether a norm comes after the last block. `out_indices` are the blocks whose outputs
    a neck or head takes, counted from 0; the last one unless given. `resample` is how positions are resized to another grid: `bicubic` or
    `bilinear`, as the program of the protocol does unless given. `class_token` is whether the class token goes through the blocks.
    `registers` counts register tokens. `twists` are words of `TWISTS`. `activation` is one of `ACTIVATIONS`, `gelu` unless given.
    """

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    image: int | tuple[int, int]
    eps: float
    classes: int | None = None
    channels: int = 3
    absent: tuple[str, ...] = ()
    final_norm: bool = True
    out_indices: tuple[int, ...] | None = None
    resample: str | None = None
    class_token: bool = True
    registers: int = 0
    twists: tuple[str, ...] = ()
    activation: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together, and for an unknown word."""
        _check_words(self)
        if any(side % self.patch for side in _pair(self.image)):
            raise ValueError("image is no multiple of patch")
        if self.width % self.heads:
            raise ValueError("heads do not divide width")
        if any(not 0 <= index < self.depth for index in self.out_indices or ()):
            raise ValueError(f"out_indices are not all of 0 to {self.depth - 1}")
        if self.resample not in (None, *RESAMPLES):
            raise ValueError(f"resample is none of {', '.join(RESAMPLES)}")

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        height, width = _pair(self.image)
        return _geometry(self, (height // self.patch, width // self.patch), head)


def _check_words(sizes: Sizes | ModelBackbone) -> None:
    """Raises ValueError for a twist or an activation that there is not."""
    if unknown := [word for word in sizes.twists if word not in TWISTS]:
        raise ValueError(f"twists: '{unknown[0]}' is none of {', '.join(TWISTS)}")
    if sizes.activation not in (None, *ACTIVATIONS):
        raise ValueError(f"activation is none of {', '.join(ACTIVATIONS)}")


def _geometry(sizes: Sizes | ModelBackbone, grid: tuple[int, int], head: HeadGeometry | None) -> Geometry:
    rows, columns = grid
    layers = getattr(sizes, "out_indices", None)
    return Geometry(
        sizes.width,
        sizes.depth,
        sizes.heads,
        sizes.mlp,
        sizes.patch,
        rows * columns,
        sizes.classes,
        head,
        channels=sizes.channels,
        rows=rows if rows != columns else None,
        absent=sizes.absent,
        final_norm=sizes.final_norm,
        out_indices=tuple(layers) if layers else None,
        class_token=None if getattr(sizes, "class_token", True) else False,
        registers=sizes.registers,
        twists=tuple(word for word in TWISTS if word in sizes.twists),
        activation=sizes.activation,
    )


def grid_of(geometry: Geometry, image: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the positions for an image of this height and width; None for another number of positions, since they can be resized."""
    rows, columns = (side // geometry.patch for side in image)
    return (rows, columns) if geometry.residual is None and rows * columns == geometry.positions else None


def lying(geometry: Geometry, grid: tuple[int, int]) -> Geometry:
    """The geometry with its positions in these rows and columns. Raises ConversionError if there are not so many."""
    rows, columns = grid
    if rows * columns != geometry.positions:
        raise ConversionError(f"the grid has {geometry.positions} positions, and {rows} x {columns} are {rows * columns}")
    return replace(geometry, rows=rows if rows != columns else None)


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `Sizes` for a measured geometry; None for what no tensor shows.

    Raises ConversionError for a hybrid, and for a grid whose rows are not known.
    """
    if geometry.residual is not None or geometry.grid is None:
        raise ConversionError(f"{geometry}: a manifest has no words for it; it describes plain ViTs with a grid of known rows and columns")
    sizes = {side: getattr(geometry, side) for side in ("width", "depth", "heads", "mlp", "patch")}
    sizes["grid"] = _side(geometry.grid)
    return sizes | _unusual(geometry)


def _side(pair: tuple[int, int]) -> int | tuple[int, int]:
    """A pair as a manifest has it: one number for a square."""
    return pair[0] if pair[0] == pair[1] else pair


def _unusual(geometry: Geometry) -> dict[str, Any]:
    """The fields that a record has only where they say something."""
    fields = {"classes": geometry.classes, "channels": geometry.channels if geometry.channels != 3 else None, "absent": geometry.absent}
    fields |= {name: getattr(geometry, name) for name in ("registers", "twists", "activation")}
    said = {name: value for name, value in fields.items() if value} | ({} if geometry.final_norm else {"final_norm": False})
    return said | ({"activation": geometry.activation} if geometry.activation_open else {})


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ModelBackbone` for a measured geometry. eps is None, and so are the indices of several outputs, and
    whether the class token goes through the blocks where there is a neck for which it does not always: no tensor shows them.
    """
    sizes = described(geometry)
    sides = {side: sizes[side] for side in ("width", "depth", "heads", "mlp", "patch")}
    assert geometry.grid is not None  # `described` refuses it
    rows, columns = geometry.grid
    several: dict[str, Any] = {"out_indices": None} if getattr(geometry.neck or geometry.decoder, "levels", 1) > 1 else {}
    several |= {"class_token": None} if getattr(geometry.neck, "class_token_unsure", False) else {}
    return sides | {"image": _side((rows * geometry.patch, columns * geometry.patch)), "eps": None} | _unusual(geometry) | several


def measured(found: Measured, heads: int | tuple[int, ...] | None) -> Geometry:
    """The geometry of these axes. The axes that follow from others (`h`, `k`, `e`) are added to `found.axes`.

    `heads` is the number that the caller knows; it must agree with what the layout shows. Raises ConversionError that names the tensor
    in disagreement.
    """
    axes, origin = found.axes, found.origin
    if not found.depths["i"]:
        raise ConversionError("no block of the encoder is in it")
    if "flat" in axes:
        raise ConversionError(
            f"{origin['flat']}: a matrix for a patch embedding, as in SigLIP 2's NaFlex towers",
            hint="these resample their positions for each picture, which segzoo has no place for; SigLIP 2 for pictures of one size is read",
        )
    width = axes["d"]
    if isinstance(heads, tuple):
        raise ConversionError(f"a plain ViT has one number of heads in all blocks, but {heads} were given")
    if "k" in axes and "h" not in axes:  # norms of queries and keys show it
        axes["h"], left = divmod(width, axes["k"])
        if left:
            raise ConversionError(f"{origin['k']}: heads of width {axes['k']} do not divide a width of {width}")
    if heads is not None and "h" in axes and axes["h"] != heads:
        raise ConversionError(f"{origin.get('h', origin.get('k'))}: shows {axes['h']} heads, but {heads} were given")
    if heads is not None and "h" not in axes:
        if heads < 1 or width % heads:
            raise ConversionError(f"{heads} heads do not divide a width of {width}")
        axes["h"], axes["k"] = heads, width // heads
    axes.setdefault("e", axes["h"] * axes["k"] if "h" in axes else width)
    for axis, must, why in (
        ("e", width, "the attention width must equal the width"),
        ("y", axes["x"], "patches must be square"),
        ("r", None if "pre_logits" in found.sections else width, "the classifier must fit the width"),
    ):
        if axis in axes and must is not None and axes[axis] != must:
            raise ConversionError(f"{origin.get(axis, origin['d'])}: {why}: {axes[axis]} is not {must}")
    return Geometry(
        width=width,
        depth=found.depths["i"],
        heads=axes.get("h"),
        mlp=axes["m"],
        patch=axes["x"],
        positions=axes["n"],
        classes=axes.get("classes"),
        residual=found.depths.units if "root" in axes else None,
        channels=axes["rgb"] if "root" in axes else axes["chan"],
        absent=found.absent,
        final_norm="final norm" in found.sections,
        registers=axes.get("reg", 0),
        twists=_twists(found.sections),
    )


def _twists(sections: tuple[str, ...]) -> tuple[str, ...]:
    """What a file with these sections has beyond a plain ViT, or lacks. Raises ConversionError where only models with rotary positions have them."""
    there = {word for section, word in _SHOWN.items() if section in sections}
    if "norm before the blocks" in sections and ("pooling head" in sections or {"final norm", "pooled norm"}.isdisjoint(sections)):
        raise ConversionError(
            "a norm before the blocks and no norm after them, or a pooling head: a tower of the Perception Encoder",
            hint="it has rotary positions, which no tensor shows and segzoo has no place for",
        )
    if "stem without class position" in sections:
        there.add("no class position" if "class token" in sections else "no class token")
    if "stem with register positions" in sections:
        there.add("register positions")
    if "stem with register positions and no class token" in sections:
        there |= {"register positions", "no class token"}
    return tuple(word for word in TWISTS if word in there)


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`. Biases of value zero are there unless the geometry says that they are absent.

    Raises ConversionError for a hybrid.
    """
    if geometry.residual is not None:
        raise ConversionError(f"{geometry}: what a hybrid's tensors are does not follow from these sizes")
    width, heads, twists = geometry.width, geometry.heads or 1, set(geometry.twists)
    axes = {"d": width, "e": width, "r": width, "m": geometry.mlp, "h": heads, "k": width // heads, "n": geometry.positions}
    axes |= {"chan": geometry.channels, "y": geometry.patch, "x": geometry.patch, "reg": geometry.registers}
    shown = [section for section, word in _SHOWN.items() if word in twists]
    ends = ["final norm" if geometry.final_norm else "no final norm", *(() if "SwiGLU" in twists else ("MLP",))]
    found = Measured(axes, {}, Depths({"i": geometry.depth}), (*_stem(twists, geometry.registers), "encoder", *shown, *ends))
    return classified(found, geometry)


def _stem(twists: set[str], registers: int) -> tuple[str, ...]:
    """The sections of class token, registers and positions: the inverse of `_twists` for them."""
    if "register positions" in twists:
        placed = "stem with register positions"
        return (f"{placed} and no class token" if "no class token" in twists else placed, "register tokens")
    token = {"no class token": ("stem without class position",), "no class position": ("stem without class position", "class token")}
    stem = next((sections for word, sections in token.items() if word in twists), ("stem",))
    beside = "registers beside a placed class token" if stem == ("stem",) else "register tokens"
    return (*stem, beside) if registers else stem
