"""What size a Twins has: as its tensors show it, and as a person writes it in a manifest."""

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

PCPVT, SVT = "pcpvt", "svt"
RATIOS = (4, 4, 4, 4)
REDUCTIONS = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a Twins. Tensors show all but its attention heads and the side of an SVT's windows.

    `variant` is `pcpvt`, or `svt` where every second block attends within windows of `window` x `window` tokens.
    `widths`, `depths`, `heads`, `mlp_ratios` and `reductions` have one number a stage. A reduction is the side of the square of tokens that
    a key is made of; it is 1 where no block of the stage attends to the whole map.
    `output_norms` is whether each stage's output has a norm of its own. `patch` is the side of the first stage's patches, in pixels.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads", "window")
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    variant: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] | None = None
    window: int | None = None
    mlp_ratios: tuple[int, ...] = RATIOS
    reductions: tuple[int, ...] = REDUCTIONS
    output_norms: bool = False
    patch: int = 4
    channels: int = 3
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def stride(self) -> int:
        """Pixels from one token of the first stage to the next."""
        return self.patch

    def __str__(self) -> str:
        parts = [self.variant.upper(), f"widths {by_stage(self.widths)}", f"depths {by_stage(self.depths)}"]
        parts += [f"heads {by_stage(self.heads)}"] if self.heads else []
        parts += [f"window {self.window}"] if self.window else []
        parts += [f"mlp ratios {by_stage(self.mlp_ratios)}", f"reductions {by_stage(self.reductions)}", f"patch {self.patch}"]
        parts += ["norms on its 4 outputs"] if self.output_norms else []
        return ", ".join([*parts, *common_parts(self)])


_BY_STAGE = ("widths", "depths", "heads", "mlp_ratios", "reductions")


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What a person writes of any Twins in a manifest."""

    variant: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int | None = None
    mlp_ratios: tuple[int, ...] = RATIOS
    reductions: tuple[int, ...] = REDUCTIONS
    output_norms: bool = False
    patch: int = 4
    channels: int = 3

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if self.variant not in (PCPVT, SVT):
            raise ValueError(f"variant is not {PCPVT} or {SVT}")
        if any(len(getattr(self, name)) != len(STAGES) for name in _BY_STAGE):
            raise ValueError(f"{', '.join(_BY_STAGE)} are not {len(STAGES)} numbers each")
        if any(width % number for width, number in zip(self.widths, self.heads, strict=True)):
            raise ValueError("heads do not divide the widths of their stages")
        if (self.window is None) is (self.variant == SVT):
            raise ValueError(f"window is for {SVT}, which needs it")
        if self.reductions[-1] != 1:
            raise ValueError("reductions do not end with 1")

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        sizes: dict[str, Any] = {name: tuple(getattr(self, name)) for name in _BY_STAGE}
        sizes |= {name: getattr(self, name) for name in ("variant", "window", "output_norms", "patch", "channels")}
        return Geometry(**sizes, classes=getattr(self, "classes", None), decoder=head)


@dataclass(frozen=True, kw_only=True)
class TwinsSizes(_Sizes):
    """A Twins' geometry, as the tensors of its file must show it. `variant` is `pcpvt`, or `svt`, whose every second block attends within windows.

    `widths`, `depths`, `heads`, `mlp_ratios` and `reductions` have one number a stage. `window` is the side of an SVT's windows, in tokens. A
    reduction is the side of the square of tokens that a key is made of; it is 1 where no block of the stage attends to the whole map.
    `output_norms` is whether each stage's output has a norm of its own.
    """

    classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class TwinsBackbone(_Sizes):
    """A model's Twins. `variant` is `pcpvt`, or `svt`, whose every second block attends within windows.

    `widths`, `depths`, `heads`, `mlp_ratios` and `reductions` have one number a stage. `window` is the side of an SVT's windows, in tokens. A
    reduction is the side of the square of tokens that a key is made of; it is 1 where no block of the stage attends to the whole map.
    `output_norms` is whether each stage's output has a norm of its own.
    """

    eps: float


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `TwinsSizes` for a measured geometry; None stands for what no tensor shows."""
    usual = {"mlp_ratios": RATIOS, "reductions": REDUCTIONS, "output_norms": False, "patch": 4, "channels": 3, "classes": None}
    sizes: dict[str, Any] = {side: getattr(geometry, side) for side in ("variant", "widths", "depths", "heads")}
    sizes |= {"window": geometry.window} if geometry.variant == SVT else {}
    return sizes | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `TwinsBackbone` for a measured geometry; None stands for what no tensor shows."""
    return {side: value for side, value in described(geometry).items() if side != "classes"} | {"eps": None}


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. `heads` are what the caller knows, one number a stage; no tensor shows them.

    Raises ConversionError that names the tensor in disagreement.
    """
    axes, origin = found.axes, found.origin
    depths = depths_by_stage(found, STAGES)
    widths = tuple(axes[f"d{stage}"] for stage, _ in STAGES)
    ratios = []
    for stage, width in enumerate(widths):
        refuse_other_axes(found, [(f"e{stage}", width, "the attention width must equal the width")])
        ratio, left = divmod(axes[f"m{stage}"], width)
        if left:
            raise ConversionError(f"{origin[f'm{stage}']}: an MLP of {axes[f'm{stage}']} is no multiple of the width {width}")
        ratios.append(ratio)
    reductions = [1] * len(STAGES)
    for stage, _ in REDUCING:
        rows, columns = (axes.get(f"{side}{stage}", 1) for side in ("ry", "rx"))
        if rows != columns:
            raise ConversionError(f"{origin[f'ry{stage}']}: keys must be of squares of tokens: {rows} is not {columns}")
        reductions[stage] = rows
    refuse_other_axes(found, [("y", axes["x"], "patches must be square")])
    return Geometry(
        SVT if "alternating attention" in found.sections else PCPVT,
        widths,
        depths,
        heads_by_stage("Twins", heads, widths),
        None,
        tuple(ratios),
        tuple(reductions),
        "output norms" in found.sections,
        axes["x"],
        axes["chan"],
        axes.get("classes"),
    )


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`."""
    axes = {"chan": geometry.channels, "y": geometry.patch, "x": geometry.patch}
    for stage, width in enumerate(geometry.widths):
        axes |= {f"d{stage}": width, f"e{stage}": width, f"m{stage}": geometry.mlp_ratios[stage] * width}
        axes |= {f"r{side}{stage}": geometry.reductions[stage] for side in "yx"}
    depths = counted_by_stage(geometry.depths, STAGES)
    attention = "alternating attention" if geometry.variant == SVT else "global attention"
    norms = ("output norms",) if geometry.output_norms else ()
    return classified(Measured(axes, {}, depths, ("encoder", attention, *norms)), geometry)
