"""What size a BEiT has: as its tensors show it, and as a person writes it in a manifest."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import HeadGeometry, Measured, NeckGeometry, classified, common_parts, refuse_other_axes
from segzoo.layouts.rule import Depths

VARIANTS = BEIT, MAE = "beit", "mae"
"""A BEiT has biases of queries and values, and none of keys. A MAE has biases of all three, and absolute positions beside the relative ones."""

LARGEST = 64
"""The side of the largest window in tokens; published ones have 40. An index has the fourth power of it."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a BEiT, or of a MAE. `window` is the side of the image in tokens: the model takes no other size.

    `heads` is None if the number is not known; only the names of a MAE without relative positions do not show it. `final_norm` is whether a norm
    comes after the last block. `out_indices` are the blocks whose outputs a neck or head takes, counted from 0; None stands for the last one.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads", "out_indices")
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    variant: str
    width: int
    depth: int
    heads: int | None
    mlp: int
    patch: int
    window: int
    channels: int = 3
    final_norm: bool = False
    out_indices: tuple[int, ...] | None = None
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return self.patch

    @property
    def image(self) -> tuple[int, int]:
        """Height and width in pixels of the images, or windows of them, that it takes."""
        return self.window * self.patch, self.window * self.patch

    def __str__(self) -> str:
        heads = self.heads if self.heads is not None else "unknown"
        parts = [self.variant.replace("mae", "MAE").replace("beit", "BEiT"), f"width {self.width}", f"depth {self.depth}", f"heads {heads}"]
        parts += [f"mlp {self.mlp}", f"patch {self.patch}", f"window {self.window}", *(["a final norm"] if self.final_norm else [])]
        return ", ".join([*parts, *common_parts(self)])


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What a person writes of any BEiT in a manifest."""

    variant: str = BEIT
    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    image: int
    channels: int = 3
    final_norm: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if self.variant not in VARIANTS:
            raise ValueError(f"variant is not {' or '.join(VARIANTS)}")
        if self.image % self.patch:
            raise ValueError("image is no multiple of patch")
        if self.width % self.heads:
            raise ValueError("heads do not divide width")
        if any(not 0 <= index < self.depth for index in getattr(self, "out_indices", None) or ()):
            raise ValueError(f"out_indices are not all of 0 to {self.depth - 1}")

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        sizes = {name: getattr(self, name) for name in (*_SIDES, "channels", "final_norm")}
        layers = getattr(self, "out_indices", None)
        return Geometry(
            **sizes,
            window=self.image // self.patch,
            out_indices=tuple(layers) if layers else None,
            classes=getattr(self, "classes", None),
            decoder=head,
        )


_SIDES = ("variant", "width", "depth", "heads", "mlp", "patch")


@dataclass(frozen=True, kw_only=True)
class BeitSizes(_Sizes):
    """A BEiT's geometry, as the tensors of its file must show it. `variant` is `beit`, or `mae`, which has absolute positions and biases of keys too.

    `image` is the side in pixels of the images that it takes, `channels` are those of the image, `final_norm` is whether a norm comes after the
    last block.
    """

    classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class BeitBackbone(_Sizes):
    """A model's BEiT. `variant` is `beit`, or `mae`, which has absolute positions and biases of keys too.

    `image` is the side in pixels of the images, or windows of them, that it takes: those of another size are refused. `final_norm` is
    whether a norm comes after the last block. `out_indices` are the blocks whose outputs a neck or head takes, counted from 0; the last one
    unless given.
    """

    eps: float
    out_indices: tuple[int, ...] | None = None


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `BeitSizes` for a measured geometry; None stands for what no tensor shows."""
    usual = {"channels": 3, "final_norm": False, "classes": None}
    sizes: dict[str, Any] = {side: getattr(geometry, side) for side in _SIDES} | {"image": geometry.image[0]}
    return sizes | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `BeitBackbone` for a measured geometry. eps is None, and so are the indices of several outputs: no tensor shows them."""
    several: dict[str, Any] = {"out_indices": None} if geometry.neck or getattr(geometry.decoder, "levels", 1) > 1 else {}
    return {side: value for side, value in described(geometry).items() if side != "classes"} | {"eps": None} | several


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. `heads` is what the caller knows, and must agree with what the tensors show.

    The axes that follow from others are added to `found.axes`. Raises ConversionError that names the tensor in disagreement.
    """
    axes, origin = found.axes, found.origin
    if not found.depths["i"]:
        raise ConversionError("no block of the encoder is in it")
    width, shown = axes["d"], axes.get("heads")
    if heads is not None and shown not in (None, heads):
        raise ConversionError(f"{origin['heads']}: the tensors show {shown} heads, but {heads} were given")
    if (known := shown or heads) is not None:
        if not isinstance(known, int) or known < 1 or width % known:
            raise ConversionError(f"{origin.get('heads', origin['d'])}: {known} heads do not divide a width of {width}")
        axes["heads"] = known
    window = _window(found)
    axes.setdefault("table", (2 * window - 1) ** 2 + 3)
    expected = [
        ("e", width, "the attention width must equal the width"),
        ("y", axes["x"], "patches must be square"),
        ("n", window**2, "the absolute positions must be as many as the tokens of the window that the relative ones are for"),
    ]
    refuse_other_axes(found, expected)
    variant = MAE if "positions" in found.sections else BEIT
    final = "final norm" in found.sections
    return Geometry(variant, width, found.depths["i"], known, axes["m"], axes["x"], window, axes["chan"], final, classes=axes.get("classes"))


def _window(found: Measured) -> int:
    """The side of the window: by the relative positions, or by the absolute ones where there are none.

    Raises ConversionError for neither, or for no square.
    """
    axes, origin = found.axes, found.origin
    if "table" in axes:
        axis, (rows, square) = "table", _root(axes["table"] - 3)
        window, square = (rows + 1) // 2, square and rows % 2 == 1
        what = f"{axes[axis]} relative positions are those of no square window and its class token"
    elif "n" not in axes:
        raise ConversionError("no positions in it: they are rotary or computed, as in EVA-02 and DINOv3, and no tensor shows which")
    else:
        axis, (window, square) = "n", _root(axes["n"])
        what = f"{axes[axis]} absolute positions are no square grid"
    if not square:
        raise ConversionError(f"{origin[axis]}: {what}")
    if window > LARGEST:
        raise ConversionError(f"{origin[axis]}: a window of {window} x {window} tokens; segzoo takes {LARGEST} x {LARGEST} at most")
    return window


def _root(number: int) -> tuple[int, bool]:
    """The whole part of a square root, and whether it is the root of a positive square."""
    root = math.isqrt(max(number, 0))
    return root, root > 0 and root**2 == number


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`. Relative positions and scales are there, though a file may lack them and mean zeros and ones."""
    axes = {"d": geometry.width, "e": geometry.width, "m": geometry.mlp, "chan": geometry.channels, "y": geometry.patch, "x": geometry.patch}
    axes |= {"n": geometry.window**2, "table": (2 * geometry.window - 1) ** 2 + 3, "heads": geometry.heads or 0}
    kind = ("qkv bias", "positions") if geometry.variant == MAE else ("qv bias",)
    sections = ("stem", *kind, "encoder", "relative positions", "scales", *(("final norm",) if geometry.final_norm else ()))
    return classified(Measured(axes, {}, Depths({"i": geometry.depth}), sections), geometry)
