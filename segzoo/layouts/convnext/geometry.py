"""What size a ConvNeXt has: as its tensors show it, and as a person writes it in a manifest."""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.convnext.stages import STAGES
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

RATIO = 4
"""How many times wider than its stage an MLP is, in all published ConvNeXts."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A ConvNeXt's sizes. Tensors show all of them.

    `widths` and `depths` have one number a stage. `patch` is the side of the stem's patches, in pixels.
    `output_norms` is whether each stage's output has a norm of its own, as in a segmentation model. Else a norm comes after the last stage
    only, as in a classifier.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
    left_over: ClassVar[tuple[str, ...]] = ("classes",)

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    patch: int = 4
    channels: int = 3
    output_norms: bool = True
    classes: int | None = None
    neck: NeckGeometry | None = None
    decoder: HeadGeometry | None = None

    @property
    def heads(self) -> None:
        """It has no attention."""
        return None

    @property
    def stride(self) -> int:
        """Pixels from one place of the first map to the next."""
        return self.patch

    def __str__(self) -> str:
        parts = [f"widths {by_stage(self.widths)}", f"depths {by_stage(self.depths)}", f"patch {self.patch}"]
        parts.append("norms on its 4 outputs" if self.output_norms else "a final norm")
        return ", ".join([*parts, *common_parts(self)])


@dataclass(frozen=True)
class ConvNeXtSizes:
    """A ConvNeXt's geometry, as the tensors of its file must show it. `widths` and `depths` have one number a stage.

    `patch` is the side of the stem's patches, in pixels. `output_norms` is whether each stage's output has a norm of its own; else one comes
    after the last stage only.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    patch: int = 4
    channels: int = 3
    output_norms: bool = False
    classes: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        _fit(self.widths, self.depths)

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return Geometry(tuple(self.widths), tuple(self.depths), self.patch, self.channels, self.output_norms, self.classes, decoder=head)


@dataclass(frozen=True)
class ConvNeXtBackbone:
    """A model's ConvNeXt, with a norm on each of its four outputs. `widths` and `depths` have one number a stage.

    `patch` is the side of the stem's patches, in pixels.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    eps: float
    patch: int = 4
    channels: int = 3

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        _fit(self.widths, self.depths)

    def geometry(self, head: HeadGeometry | None = None) -> Geometry:
        return Geometry(tuple(self.widths), tuple(self.depths), self.patch, self.channels, decoder=head)


def _fit(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    if not len(widths) == len(depths) == len(STAGES):
        raise ValueError(f"widths and depths are not {len(STAGES)} numbers each")


def described(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ConvNeXtSizes` for a measured geometry."""
    usual = {"patch": 4, "channels": 3, "output_norms": False, "classes": None}
    sizes: dict[str, Any] = {side: getattr(geometry, side) for side in ("widths", "depths")}
    return sizes | {side: value for side, otherwise in usual.items() if (value := getattr(geometry, side)) != otherwise}


def described_model(geometry: Geometry) -> dict[str, Any]:
    """The fields of `ConvNeXtBackbone` for a measured geometry. eps is None, since no tensor shows it."""
    return {side: value for side, value in described(geometry).items() if side not in ("output_norms", "classes")} | {"eps": None}


def measured(found: Measured, heads: Any) -> Geometry:
    """The geometry of these axes. Raises ConversionError that names the tensor in disagreement, or for `heads`, which it has not."""
    axes, origin = found.axes, found.origin
    depths = depths_by_stage(found, STAGES)
    if heads is not None:
        raise ConversionError(f"a ConvNeXt has no attention, but {heads} heads were given")
    for stage, _ in STAGES:
        if axes[f"m{stage}"] != RATIO * axes[f"d{stage}"]:
            must = f"an MLP is {RATIO} times wider than its stage"
            raise ConversionError(f"{origin[f'm{stage}']}: {must}: {axes[f'm{stage}']} is not {RATIO} x {axes[f'd{stage}']}")
    refuse_other_axes(found, [("y", axes["x"], "patches must be square")])
    widths = tuple(axes[f"d{stage}"] for stage, _ in STAGES)
    return Geometry(widths, depths, axes["x"], axes["chan"], "output norms" in found.sections, axes.get("classes"))


def shown(geometry: Geometry) -> Measured:
    """The inverse of `measured`."""
    axes = {"chan": geometry.channels, "y": geometry.patch, "x": geometry.patch}
    for stage, width in enumerate(geometry.widths):
        axes |= {f"d{stage}": width, f"m{stage}": RATIO * width}
    depths = counted_by_stage(geometry.depths, STAGES)
    sections = ("encoder", "output norms" if geometry.output_norms else "final norm")
    return classified(Measured(axes, {}, depths, sections), geometry)
