"""What size a MiT has: as its tensors show it, and as a person writes it in a manifest."""

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
    heads_by_stage,
    refuse_other_axes,
)
from segzoo.layouts.twins.stages import REDUCING, STAGES

PATCHES = (7, 3, 3, 3)
REDUCTIONS = (8, 4, 2, 1)
STRIDES = (4, 2, 2, 2)
"""Pixels, then tokens, from one token of a stage to the next. No tensor shows them; all published MiTs have these."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a MiT. Tensors show all but its attention heads and the eps of some norms.

    `widths`, `depths`, `heads`, `patches` and `reductions` have one number a stage. `mlp_ratio` is how many times wider than a stage its MLPs
    are. `patches` are the sides of the convolutions that make a stage's tokens, which overlap. A reduction is the side of the square of tokens that a
    key is made of. `conv_eps` is that of the norms after a convolution, where it is another than that of the other norms.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads", "conv_eps")
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] | None = None
    mlp_ratio: int = 4
    patches: tuple[int, ...] = PATCHES
    reductions: tuple[int, ...] = REDUCTIONS
    channels: int = 3
    conv_eps: float | None = None
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def stride(self) -> int:
        """Pixels from one token of the first stage to the next."""
        return STRIDES[0]

    def __str__(self) -> str:
        parts = [f"widths {by_stage(self.widths)}", f"depths {by_stage(self.depths)}"]
        parts += [f"heads {by_stage(self.heads)}"] if self.heads else []
        parts += [f"mlp ratio {self.mlp_ratio}", f"patches {by_stage(self.patches)}", f"reductions {by_stage(self.reductions)}"]
        return ", ".join([*parts, *common_parts(self)])


_BY_STAGE = ("widths", "depths", "heads", "patches", "reductions")


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What a person writes of any MiT in a manifest."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratio: int = 4
    patches: tuple[int, ...] = PATCHES
    reductions: tuple[int, ...] = REDUCTIONS
    channels: int = 3
    conv_eps: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if any(len(getattr(self, name)) != len(STAGES) for name in _BY_STAGE):
            raise ValueError(f"{', '.join(_BY_STAGE)} are not {len(STAGES)} numbers each")
        if any(width % number for width, number in zip(self.widths, self.heads, strict=True)):
            raise ValueError("heads do not divide the widths of their stages")
        if [number > 1 for number in self.reductions] != [True] * len(REDUCING) + [False]:
            raise ValueError("reductions are not greater than 1 in all stages but the last")

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        sizes: dict[str, Any] = {name: tuple(getattr(self, name)) for name in _BY_STAGE}
        sizes |= {name: getattr(self, name) for name in ("mlp_ratio", "channels", "conv_eps")}
        return Geometry(**sizes, classes=getattr(self, "classes", None), decoder=head)


@dataclass(frozen=True, kw_only=True)
class MitSizes(_Sizes):
    """A MiT's geometry, as the tensors of its file must show it.

    `widths`, `depths`, `heads`, `patches` and `reductions` have one number a stage. `mlp_ratio` is how many times wider than a stage its MLPs
    are. `patches` are the sides of the convolutions that make a stage's tokens. A reduction is the side of the square of tokens that a key is
    made of. `conv_eps` is that of the norms after a convolution, where it is another than `eps`.
    """

    classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class MitBackbone(_Sizes):
    """A model's MiT.

    `widths`, `depths`, `heads`, `patches` and `reductions` have one number a stage. `mlp_ratio` is how many times wider than a stage its MLPs
    are. `patches` are the sides of the convolutions that make a stage's tokens. A reduction is the side of the square of tokens that a key is
    made of. `conv_eps` is that of the norms after a convolution, where it is another than `eps`.
    """

    eps: float


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `MitSizes` for a measured geometry; None stands for what no tensor shows."""
    usual = {"mlp_ratio": 4, "patches": PATCHES, "reductions": REDUCTIONS, "channels": 3, "conv_eps": None, "classes": None}
    sizes: dict[str, Any] = {side: getattr(geometry, side) for side in ("widths", "depths", "heads")}
    return sizes | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `MitBackbone` for a measured geometry; None stands for what no tensor shows."""
    return {side: value for side, value in described(geometry).items() if side != "classes"} | {"eps": None}


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. `heads` are what the caller knows, one number a stage; no tensor shows them.

    Raises ConversionError that names the tensor in disagreement.
    """
    axes, origin = found.axes, found.origin
    depths = depths_by_stage(found, STAGES)
    widths = tuple(axes[f"d{stage}"] for stage, _ in STAGES)
    ratio = axes["m0"] // axes["d0"]
    for stage, width in enumerate(widths):
        refuse_other_axes(found, [(f"e{stage}", width, "the attention width must equal the width")])
        if axes[f"m{stage}"] != ratio * width:
            raise ConversionError(
                f"{origin[f'm{stage}']}: all MLPs must be as many times wider than their stage: {axes[f'm{stage}']} is not {ratio * width}",
                hint="PVT v2 has a MiT's names, and MLPs 8, 8, 4 and 4 times as wide; it is not converted",
            )
    refuse_other_axes(found, ((f"y{stage}", axes[f"x{stage}"], "patches must be square") for stage, _ in STAGES))
    refuse_other_axes(found, ((f"ry{stage}", axes[f"rx{stage}"], "keys must be of squares of tokens") for stage, _ in REDUCING))
    return Geometry(
        widths,
        depths,
        heads_by_stage("MiT", heads, widths),
        ratio,
        tuple(axes[f"y{stage}"] for stage, _ in STAGES),
        (*(axes[f"ry{stage}"] for stage, _ in REDUCING), 1),
        axes["chan"],
        None,
        axes.get("classes"),
    )


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`."""
    axes = {"chan": geometry.channels}
    for stage, width in enumerate(geometry.widths):
        axes |= {f"d{stage}": width, f"e{stage}": width, f"m{stage}": geometry.mlp_ratio * width}
        axes |= {f"{side}{stage}": geometry.patches[stage] for side in "yx"} | {f"r{side}{stage}": geometry.reductions[stage] for side in "yx"}
    depths = counted_by_stage(geometry.depths, STAGES)
    return classified(Measured(axes, {}, depths, ("encoder",)), geometry)
