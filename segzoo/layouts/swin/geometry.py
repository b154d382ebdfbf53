"""What size a Swin Transformer has: as its tensors show it, and as a person writes it in a manifest."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import (
    HeadGeometry,
    Measured,
    NeckGeometry,
    by_stage,
    classified,
    common_parts,
    counted_by_stage,
    depths_by_stage,
    refuse_other_axes,
)
from segzoo.layouts.swin.stages import STAGES

LARGEST = 32
"""The side of the largest window that is taken for one; published ones are at most 24. An index has the fourth power of it."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A Swin's sizes. Tensors show all of them.

    `width` is that of the first stage; each stage doubles it. `depths` and `heads` have one number a stage. `window` is the side of a
    window in tokens. `mlp_ratio` is how many times wider than a stage its MLPs are.
    `output_norms` is whether each stage's output has a norm of its own, as in a segmentation model. Else a norm comes after the last stage
    only, as in a classifier.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int = 4
    mlp_ratio: int = 4
    channels: int = 3
    output_norms: bool = True
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each stage."""
        return tuple(self.width << stage for stage in range(len(self.depths)))

    @property
    def stride(self) -> int:
        """Pixels from one token of the first stage to the next."""
        return self.patch

    def __str__(self) -> str:
        parts = [f"width {self.width}", f"depths {by_stage(self.depths)}", f"heads {by_stage(self.heads)}", f"window {self.window}"]
        parts += [f"patch {self.patch}", f"mlp ratio {self.mlp_ratio}", "norms on its 4 outputs" if self.output_norms else "a final norm"]
        return ", ".join([*parts, *common_parts(self)])


@dataclass(frozen=True)
class SwinSizes:
    """A Swin's geometry, as the tensors of its file must show it. `width` is that of the first stage, each stage doubles it.

    `depths` and `heads` have one number a stage. `window` is the side of a window in tokens. `mlp_ratio` is how many times wider than a stage
    its MLPs are. `output_norms` is whether each stage's output has a norm of its own; else one comes after the last stage only.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int = 4
    mlp_ratio: int = 4
    channels: int = 3
    output_norms: bool = False
    classes: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        _fit(self.width, self.depths, self.heads)

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        shared = (self.width, tuple(self.depths), tuple(self.heads), self.window, self.patch, self.mlp_ratio, self.channels)
        return Geometry(*shared, self.output_norms, self.classes, decoder=head)


@dataclass(frozen=True)
class SwinBackbone:
    """A model's Swin, with a norm on each of its four outputs. `width` is that of the first stage, each stage doubles it.

    `depths` and `heads` have one number a stage. `window` is the side of a window in tokens. `mlp_ratio` is how many times wider than a stage
    its MLPs are.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    eps: float
    patch: int = 4
    mlp_ratio: int = 4
    channels: int = 3

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        _fit(self.width, self.depths, self.heads)

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        shared = (self.width, tuple(self.depths), tuple(self.heads), self.window, self.patch, self.mlp_ratio, self.channels)
        return Geometry(*shared, decoder=head)


def _fit(width: int, depths: tuple[int, ...], heads: tuple[int, ...]) -> None:
    if not len(depths) == len(heads) == len(STAGES):
        raise ValueError(f"depths and heads are not {len(STAGES)} numbers each")
    if any((width << stage) % number for stage, number in enumerate(heads)):
        raise ValueError("heads do not divide the widths of their stages")


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `SwinSizes` for a measured geometry."""
    usual = {"patch": 4, "mlp_ratio": 4, "channels": 3, "output_norms": False, "classes": None}
    sizes: dict[str, Any] = {side: getattr(geometry, side) for side in ("width", "depths", "heads", "window")}
    return sizes | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `SwinBackbone` for a measured geometry. eps is None, since no tensor shows it."""
    return {side: value for side, value in described(geometry).items() if side not in ("output_norms", "classes")} | {"eps": None}


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. `heads` is what the caller knows, and must agree with what the tensors show.

    Raises ConversionError that names the tensor in disagreement.
    """
    axes, origin = found.axes, found.origin
    depths = depths_by_stage(found, STAGES)
    shown = tuple(axes.get(f"heads{stage}", 0) for stage, _ in STAGES)
    if heads is not None and heads != shown:
        raise ConversionError(f"{origin['heads0']}: the tensors show {by_stage(shown)} heads, but {heads} were given")
    if (rows := math.isqrt(axes["table"])) ** 2 != axes["table"] or not rows % 2:
        raise ConversionError(f"{origin['table']}: {axes['table']} relative positions are those of no square window")
    if (window := (rows + 1) // 2) > LARGEST:
        raise ConversionError(f"{origin['table']}: a window of {window} x {window} tokens; segzoo takes {LARGEST} x {LARGEST} at most")
    ratio = axes["m0"] // axes["d0"]
    for stage, _ in STAGES:
        width = axes["d0"] << stage
        expected = [
            (f"d{stage}", width, "each stage doubles the width"),
            (f"e{stage}", width, "the attention width must equal the width"),
            (f"m{stage}", ratio * width, "all MLPs must be as many times wider than their stage"),
        ]
        refuse_other_axes(found, expected)
        if width % shown[stage]:
            raise ConversionError(f"{origin[f'heads{stage}']}: {shown[stage]} heads do not divide a width of {width}")
    refuse_other_axes(found, [("y", axes["x"], "patches must be square")])
    norms = "output norms" in found.sections
    return Geometry(axes["d0"], depths, shown, window, axes["x"], ratio, axes["chan"], norms, axes.get("classes"))


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`."""
    axes = {"table": (2 * geometry.window - 1) ** 2, "chan": geometry.channels, "y": geometry.patch, "x": geometry.patch}
    for stage, (width, heads) in enumerate(zip(geometry.widths, geometry.heads, strict=True)):
        axes |= {f"d{stage}": width, f"e{stage}": width, f"m{stage}": geometry.mlp_ratio * width, f"heads{stage}": heads}
    depths = counted_by_stage(geometry.depths, STAGES)
    sections = ("encoder", "output norms" if geometry.output_norms else "final norm")
    return classified(Measured(axes, {}, depths, sections), geometry)
