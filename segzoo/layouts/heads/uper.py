"""`uper`: UPerHead (Xiao et al., ECCV 2018), under `decode_head.` in mmseg 1.2.2 in microsoft/unilm's BEiT, and in transformers'
UperNetForSemanticSegmentation and BeitForSemanticSegmentation.

The axes of its tables: `level{l}` channels into the lateral convolution of level l, `deepest` channels of the last level, `uper` its own channels,
`c` classes. Canonical names count from the finest level.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, Rule, affine, conv_module

BINS = (1, 2, 3, 6)
"""Sides of the pyramid's grids, as in the paper and in every config of mmseg."""


@dataclass(frozen=True, slots=True)
class UPerDecoder:
    """The sizes of an UPerHead. `levels` counts the maps that it takes, `channels` are its own, `bins` are the sides of the pyramid's grids."""

    hidden: ClassVar[tuple[str, ...]] = ("bins",)

    kind: str
    classes: int
    channels: int
    levels: int
    bins: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"UPerNet head of {self.channels} channels on {self.levels} levels, {self.classes} classes"


@dataclass(frozen=True)
class UPerHead:
    """An UPerHead in a manifest. `levels` counts the maps that it takes, `bins` are the sides of the grids of its pyramid."""

    classes: int
    channels: int = 512
    levels: int = 4
    bins: tuple[int, ...] = BINS

    def geometry(self, backbone: Any) -> UPerDecoder:
        return UPerDecoder("uper", self.classes, self.channels, self.levels, tuple(self.bins))


def measured(axes: Axes, depths: Depths) -> UPerDecoder:
    """Raises ConversionError where the sums of channels do not fit."""
    channels, levels, bins = axes["uper"], depths["l"] + 1, depths["b"]
    expected = (
        ("pyramid", axes["deepest"] + bins * channels, f"channels, of the deepest level and {bins} grids"),
        ("joined", levels * channels, f"channels, of {levels} levels"),
        ("inner", channels, "channels, its own"),
        ("threey", 3, "rows of a convolution"),
        ("threex", 3, "columns of a convolution"),
    )
    refuse_other_sizes("UPerHead", axes, expected)
    return UPerDecoder("uper", axes["c"], channels, levels)


def shown(decoder: UPerDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    channels, bins = decoder.channels, len(decoder.bins or BINS)
    axes = {"c": decoder.classes, "uper": channels, "inner": channels, "threey": 3, "threex": 3, "joined": decoder.levels * channels}
    axes |= {"deepest": maps[-1], "pyramid": maps[-1] + bins * channels}
    return axes | {f"level{level}": width for level, width in enumerate(maps)}, {"l": decoder.levels - 1, "b": bins}


def described(decoder: UPerDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "channels": decoder.channels, "levels": decoder.levels, "bins": None}


def rules(conv: str, norm: str) -> tuple[Rule, ...]:
    """The rules of an UPerHead. `conv` is a library's name of the last convolution, `norm` that of the norms."""
    return (
        *affine(f"decode_head.{conv}", "decoder.conv", "c uper 1 1 -> c uper", "c"),
        *conv_module("decode_head.psp_modules.{b}.1", "decoder.pyramid.{b}", "uper deepest 1 1 -> uper deepest", "uper", norm),
        *conv_module("decode_head.bottleneck", "decoder.pyramid_fusion", "uper pyramid threey threex", "uper", norm),
        *conv_module("decode_head.lateral_convs.{l}", "decoder.laterals.{l}", "uper level{l} 1 1 -> uper level{l}", "uper", norm),
        *conv_module("decode_head.fpn_convs.{l}", "decoder.levels.{l}", "uper inner threey threex", "uper", norm),
        *conv_module("decode_head.fpn_bottleneck", "decoder.fusion", "uper joined threey threex", "uper", norm),
    )


UPER = Head(
    name="uper",
    title="UPerNet",
    section="uper decoder",
    rules={
        "mmseg": rules("conv_seg", "bn"),
        "unilm": rules("conv_seg", "bn"),
        "hf": rules("classifier", "batch_norm"),
        "hf beit": rules("classifier", "bn"),
    },
    measure=measured,
    shown=shown,
    record=UPerHead,
    describe=described,
    usual={"bins": BINS},
)
