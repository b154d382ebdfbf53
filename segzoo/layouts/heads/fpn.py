"""`fpn`: FPNHead, the semantic head of Panoptic FPN (Kirillov et al., CVPR 2019), under `decode_head.` in mmseg 1.2.2.

The axes of its tables: `level{l}` channels of level l, `fpn` its own channels, `c` classes. Canonical names count from the finest level.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, Rule, affine, conv_module

CONVOLUTIONS = (1, 1, 2, 3)
"""How many convolutions each level has: one for each doubling, and one where nothing is doubled. Strides are 4, 8, 16, 32 in all configs of mmseg."""


@dataclass(frozen=True, slots=True)
class FPNDecoder:
    """The sizes of an FPNHead. `channels` are its own."""

    hidden: ClassVar[tuple[str, ...]] = ()

    kind: str
    classes: int
    channels: int

    def __str__(self) -> str:
        return f"FPN head of {self.channels} channels, {self.classes} classes"


@dataclass(frozen=True)
class FPNHead:
    """An FPNHead in a manifest. It takes four maps, each of half the size of the one before. `channels` are its own."""

    classes: int
    channels: int = 128

    def geometry(self, backbone: Any) -> FPNDecoder:
        return FPNDecoder("fpn", self.classes, self.channels)


def measured(axes: Axes, depths: Depths) -> FPNDecoder:
    """Raises ConversionError for other convolutions than mmseg's."""
    expected = (("inner", axes["fpn"]), ("threey", 3), ("threex", 3))
    refuse_other_sizes("FPNHead", axes, ((axis, must, "in its convolutions") for axis, must in expected))
    return FPNDecoder("fpn", axes["c"], axes["fpn"])


def shown(decoder: FPNDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"c": decoder.classes, "fpn": decoder.channels, "inner": decoder.channels, "threey": 3, "threex": 3}
    return axes | {f"level{level}": width for level, width in enumerate(maps)}, {}


def described(decoder: FPNDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "channels": decoder.channels}


def rules() -> tuple[Rule, ...]:
    """The rules of an FPNHead. In mmseg's lists of a level's layers, convolutions and doublings take turns."""
    found = [*affine("decode_head.conv_seg", "decoder.conv", "c fpn 1 1 -> c fpn", "c")]
    for level, count in enumerate(CONVOLUTIONS):
        for place in range(count):
            features = "inner" if place else f"level{level}"
            key, holds = f"decode_head.scale_heads.{level}.{2 * place}", f"decoder.levels.{level}.{place}"
            found += conv_module(key, holds, f"fpn {features} threey threex", "fpn")
    return tuple(found)


FPN_HEAD = Head(
    name="fpn",
    title="FPN",
    section="FPN decoder",
    rules={"mmseg": rules()},
    measure=measured,
    shown=shown,
    record=FPNHead,
    describe=described,
)
