"""`setr-mla`: SETR's head for multi-level feature aggregation (Zheng et al., CVPR 2021), SETRMLAHead, under `decode_head.` in mmseg 1.2.2.

The axes of its table: `branchin{l}` channels into branch l, `branch` a branch's own, `joined` those of all branches, `c` classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, affine, conv_module


@dataclass(frozen=True, slots=True)
class SetrMlaDecoder:
    """The sizes of a SETRMLAHead. `levels` counts its maps, each with a branch of `channels`; `scale` is the factor by which they are enlarged."""

    hidden: ClassVar[tuple[str, ...]] = ("scale",)

    kind: str
    classes: int
    channels: int
    levels: int
    scale: int | None = None

    def __str__(self) -> str:
        return f"SETR-MLA head of {self.levels} branches of {self.channels} channels, {self.classes} classes"


@dataclass(frozen=True)
class SetrMlaHead:
    """A SETRMLAHead in a manifest. `levels` counts its maps, `channels` are each branch's, `scale` is the factor by which they are enlarged."""

    classes: int
    channels: int = 128
    levels: int = 4
    scale: int = 4

    def geometry(self, backbone: Any) -> SetrMlaDecoder:
        return SetrMlaDecoder("setr-mla", self.classes, self.channels, self.levels, self.scale)


def measured(axes: Axes, depths: Depths) -> SetrMlaDecoder:
    """Raises ConversionError for other convolutions than mmseg's."""
    channels, levels = axes["branch"], depths["l"]
    expected = (
        ("joined", levels * channels, f"channels, of {levels} branches"),
        ("inner", channels, "channels, its own"),
        *((axis, 3, "rows and columns of a convolution") for axis in ("firsty", "firstx", "secondy", "secondx")),
    )
    refuse_other_sizes("SETR-MLA's head", axes, expected)
    return SetrMlaDecoder("setr-mla", axes["c"], channels, levels)


def shown(decoder: SetrMlaDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"c": decoder.classes, "branch": decoder.channels, "inner": decoder.channels, "joined": decoder.levels * decoder.channels}
    axes |= dict.fromkeys(("firsty", "firstx", "secondy", "secondx"), 3)
    return axes | {f"branchin{level}": width for level, width in enumerate(maps)}, {"l": decoder.levels}


def described(decoder: SetrMlaDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "channels": decoder.channels, "levels": decoder.levels, "scale": None}


SETR_MLA = Head(
    name="setr-mla",
    title="SETR-MLA",
    section="SETR-MLA decoder",
    rules={
        "mmseg": (
            *affine("decode_head.conv_seg", "decoder.conv", "c joined 1 1 -> c joined", "c"),
            *conv_module("decode_head.up_convs.{l}.0", "decoder.branches.{l}.0", "branch branchin{l} firsty firstx", "branch"),
            *conv_module("decode_head.up_convs.{l}.1", "decoder.branches.{l}.1", "branch inner secondy secondx", "branch"),
        )
    },
    measure=measured,
    shown=shown,
    record=SetrMlaHead,
    describe=described,
    usual={"scale": 4},
)
