"""`segformer`: SegformerHead of mmseg 1.2.2, under `decode_head.`: a convolution with BatchNorm and ReLU for each level, and one for all.

The axes of its table: `level{l}` channels of level l, `mix` its own channels, `joined` those of all levels, `c` classes. Canonical names count from
the finest level. NVlabs' own head is another network: see `nvlabs`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, affine, conv_module


@dataclass(frozen=True, slots=True)
class SegformerDecoder:
    """The sizes of a SegFormer head. `levels` counts the maps that it takes, `channels` are its own."""

    hidden: ClassVar[tuple[str, ...]] = ()

    kind: str
    classes: int
    channels: int
    levels: int

    def __str__(self) -> str:
        whose = "NVlabs " if self.kind.endswith("nvlabs") else ""
        return f"{whose}SegFormer head of {self.channels} channels on {self.levels} levels, {self.classes} classes"


@dataclass(frozen=True)
class SegformerHead:
    """MMSegmentation's SegFormer head in a manifest. `levels` counts the maps that it takes, `channels` are its own."""

    classes: int
    channels: int = 256
    levels: int = 4

    def geometry(self, backbone: Any) -> SegformerDecoder:
        return SegformerDecoder("segformer", self.classes, self.channels, self.levels)


def measured(axes: Axes, depths: Depths) -> SegformerDecoder:
    """Raises ConversionError where the sum of channels does not fit."""
    channels, levels = axes["mix"], depths["l"]
    refuse_other_sizes("SegFormer's head", axes, [("joined", levels * channels, f"channels, of {levels} levels")])
    return SegformerDecoder("segformer", axes["c"], channels, levels)


def shown(decoder: SegformerDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"c": decoder.classes, "mix": decoder.channels, "joined": decoder.levels * decoder.channels}
    return axes | {f"level{level}": width for level, width in enumerate(maps)}, {"l": decoder.levels}


def described(decoder: SegformerDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "channels": decoder.channels, "levels": decoder.levels}


SEGFORMER = Head(
    name="segformer",
    title="SegFormer",
    section="SegFormer decoder",
    rules={
        "mmseg": (
            *affine("decode_head.conv_seg", "decoder.conv", "c mix 1 1 -> c mix", "c"),
            *conv_module("decode_head.convs.{l}", "decoder.levels.{l}", "mix level{l} 1 1 -> mix level{l}", "mix"),
            *conv_module("decode_head.fusion_conv", "decoder.fusion", "mix joined 1 1 -> mix joined", "mix"),
        )
    },
    measure=measured,
    shown=shown,
    record=SegformerHead,
    describe=described,
)
