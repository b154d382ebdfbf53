"""What size a ResNet has: as its tensors show it, and as a person writes it in a manifest."""

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
from segzoo.layouts.resnet.stages import STAGES

WIDER = 4
"""How many times wider than a bottleneck its output is."""
WIDTH = 64


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a ResNet of bottlenecks. Tensors show all of them.

    `width` is that of the stem, and of the first stage's bottlenecks; each stage doubles it. `depths` has one number a stage.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
    left_over: ClassVar[tuple[str, ...]] = ("classes",)
    stride: ClassVar[int] = 4
    """Pixels from one place of the first map to the next."""
    heads: ClassVar[None] = None

    depths: tuple[int, ...]
    width: int = WIDTH
    channels: int = 3
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each stage's output."""
        return tuple(WIDER * self.width << stage for stage, _ in STAGES)

    def __str__(self) -> str:
        return ", ".join([f"width {self.width}", f"depths {by_stage(self.depths)}", *common_parts(self)])


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What a person writes of any ResNet in a manifest."""

    depths: tuple[int, ...]
    width: int = WIDTH
    channels: int = 3

    def __post_init__(self) -> None:
        """Raises ValueError for another number of stages."""
        if len(self.depths) != len(STAGES):
            raise ValueError(f"depths are not {len(STAGES)} numbers")

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return Geometry(tuple(self.depths), self.width, self.channels, getattr(self, "classes", None), decoder=head)


@dataclass(frozen=True, kw_only=True)
class ResNetSizes(_Sizes):
    """A ResNet's geometry, as the tensors of its file must show it. `width` is that of the stem, `depths` has one number a stage."""

    classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ResNetBackbone(_Sizes):
    """A model's ResNet, which halves a map in the second convolution of a bottleneck, as torchvision does (`style: pytorch`).

    `width` is that of the stem, `depths` has one number a stage. `eps` is that of its batch norms.
    """

    eps: float


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ResNetSizes` for a measured geometry."""
    usual = {"width": WIDTH, "channels": 3, "classes": None}
    return {"depths": geometry.depths} | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ResNetBackbone` for a measured geometry. eps is None, since no tensor shows it."""
    return {side: value for side, value in described(geometry).items() if side != "classes"} | {"eps": None}


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. Raises ConversionError that names the tensor in disagreement, or for `heads`, which it has not."""
    axes = found.axes
    depths = depths_by_stage(found, STAGES)
    if heads is not None:
        raise ConversionError(f"a ResNet has no attention, but {heads} heads were given")
    into = width = axes["stem"]
    for stage, depth in enumerate(depths):
        inner = width << stage
        expected = [
            (f"m{stage}", inner, "each stage doubles the width of the stem"),
            (f"d{stage}", WIDER * inner, f"an output is {WIDER} times wider"),
        ]
        expected.append((f"g{stage}", inner, "a second convolution takes all channels, unlike a ResNeXt's"))
        expected += [(f"in{stage}x{block}", WIDER * inner if block else into, "a block takes what comes before it") for block in range(depth)]
        refuse_other_axes(found, expected)
        into = WIDER * inner
    return Geometry(depths, width, axes["chan"], axes.get("classes"))


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`."""
    axes, into = {"stem": geometry.width, "chan": geometry.channels}, geometry.width
    for stage, (width, depth) in enumerate(zip(geometry.widths, geometry.depths, strict=True)):
        axes |= {f"d{stage}": width, f"m{stage}": width // WIDER, f"g{stage}": width // WIDER}
        axes |= {f"in{stage}x{block}": width if block else into for block in range(depth)}
        into = width
    depths = counted_by_stage(geometry.depths, STAGES)
    return classified(Measured(axes, {}, depths, ("encoder", "batch counts")), geometry)
