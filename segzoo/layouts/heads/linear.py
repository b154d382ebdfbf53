"""`linear`: the linear head of Segmenter, one layer from a token to class scores. In mmseg 1.2.2 it is a 1x1 convolution."""

from dataclasses import dataclass
from typing import Any

from segzoo.layouts.family import Axes, Head, Shown
from segzoo.layouts.heads.mask import Decoder
from segzoo.layouts.rule import Depths, affine


@dataclass(frozen=True)
class LinearHead:
    """A linear head in a manifest."""

    classes: int

    def geometry(self, backbone: Any) -> Decoder:
        return Decoder("linear", self.classes)


def measured(axes: Axes, depths: Depths) -> Decoder:
    return Decoder("linear", axes["c"])


def shown(decoder: Decoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    return {"c": decoder.classes}, {}


def described(decoder: Decoder) -> dict[str, Any]:
    return {"classes": decoder.classes}


LINEAR = Head(
    name="linear",
    title="Segmenter Linear",
    section="linear decoder",
    rules={
        "mmseg": affine("decode_head.conv_seg", "decoder.conv", "c d 1 1 -> c d", "c"),
        "segmenter": affine("decoder.head", "decoder.conv", "c d", "c"),
    },
    measure=measured,
    shown=shown,
    record=LinearHead,
    describe=described,
)
