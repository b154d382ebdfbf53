"""What size a plain ViT has: as its tensors show it, and as a person writes it in a manifest."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import HeadGeometry, Measured


@dataclass(frozen=True, slots=True)
class Geometry:
    """A ViT's sizes. `positions` counts the grid's positions. `heads` is None if the number is not known.

    `residual` is for hybrids: the number of units in each stage of the ResNet before the patch embedding. It is
    empty if there is only the ResNet's root, and None if there is no ResNet.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads",)
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    width: int
    depth: int
    heads: int | None
    mlp: int
    patch: int
    positions: int
    classes: int | None = None
    decoder: HeadGeometry | None = None
    residual: tuple[int, ...] | None = None

    @property
    def grid(self) -> int | None:
        """The side of the grid; None if the number of positions is not a square."""
        side = math.isqrt(self.positions)
        return side if side * side == self.positions else None

    @property
    def stride(self) -> int:
        """Pixels from one token to the next. The root of a ResNet has stride 4, each stage after the first has stride 2."""
        return self.patch if self.residual is None else self.patch * 4 * 2 ** max(len(self.residual) - 1, 0)

    def __str__(self) -> str:
        heads = self.heads if self.heads is not None else "unknown"
        grid = f"grid {self.grid}" if self.grid else f"{self.positions} positions"
        parts = [f"width {self.width}", f"depth {self.depth}", f"heads {heads}", f"mlp {self.mlp}", f"patch {self.patch}", grid]
        if self.residual is not None:
            parts.append(f"ResNet of {'+'.join(map(str, self.residual))} units" if self.residual else "ResNet root")
            parts.append(f"stride {self.stride}")
        if self.classes is not None:
            parts.append(f"{self.classes} classes")
        if self.decoder is not None:
            parts.append(str(self.decoder))
        return ", ".join(parts)


@dataclass(frozen=True)
class Sizes:
    """A backbone's geometry, as the tensors of its file must show it."""

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    grid: int
    classes: int | None = None

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return Geometry(self.width, self.depth, self.heads, self.mlp, self.patch, self.grid**2, self.classes, head)


@dataclass(frozen=True)
class ModelBackbone:
    """A Segmenter's backbone; `image` is the side in pixels that its position embeddings are for, `classes` are
    those of a classifier that the file still carries.
    """

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    image: int
    eps: float
    classes: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if self.image % self.patch:
            raise ValueError("image is no multiple of patch")
        if self.width % self.heads:
            raise ValueError("heads do not divide width")

    @property
    def grid(self) -> int:
        return self.image // self.patch

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return Geometry(self.width, self.depth, self.heads, self.mlp, self.patch, self.grid**2, self.classes, head)


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `Sizes` for a measured geometry; None for what no tensor shows.

    Raises ConversionError for a hybrid, and for a grid that is not square.
    """
    if geometry.residual is not None or geometry.grid is None:
        raise ConversionError(f"{geometry}: a manifest has no words for it; it describes plain ViTs with a square grid")
    sizes = {side: getattr(geometry, side) for side in ("width", "depth", "heads", "mlp", "patch", "grid")}
    return sizes | ({"classes": geometry.classes} if geometry.classes else {})


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ModelBackbone` for a measured geometry. eps is None: no tensor shows it."""
    sizes = described(geometry)
    sides = {side: sizes[side] for side in ("width", "depth", "heads", "mlp", "patch")}
    return sides | {"image": sizes["grid"] * sizes["patch"], "eps": None} | ({"classes": geometry.classes} if geometry.classes else {})


def measured(found: Measured, heads: int | None) -> Geometry:
    """The geometry of these axes. The axes that follow from others (`h`, `k`, `e`) are added to `found.axes`.

    `heads` is the number that the caller knows; it must agree with what the layout shows. Raises ConversionError that names the tensor
    in disagreement.
    """
    axes, origin = found.axes, found.origin
    if not found.depths["i"]:
        raise ConversionError("no block of the encoder is in it")
    width = axes["d"]
    if heads is not None and "h" in axes and axes["h"] != heads:
        raise ConversionError(f"{origin['h']}: shows {axes['h']} heads, but {heads} were given")
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
    )
