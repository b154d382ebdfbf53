"""FPNHead (Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019), as in mmseg 1.2.2 `mmseg/models/decode_heads/fpn_head.py`."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from segzoo.layouts.heads.fpn import CONVOLUTIONS, FPNDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import enlarged, refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class Doubling(nn.Module):
    """A map at twice its size, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        return enlarged(x, 2)


class FPNHead(nn.Module):
    """Maps of four levels, the finest first, each of half the size of the one before, to class scores (b, c, h, w) at the finest one's size.

    Convolutions and doublings bring each level to about the finest one's size. The levels are summed, at just that size.
    """

    def __init__(self, *, features: Sequence[int], channels: int, classes: int, convolutions: Sequence[int] = (1, 1, 2, 3)):
        super().__init__()
        self.outputs = classes
        self.conv_seg = Conv2d(channels, classes, 1)
        self.scale_heads = nn.ModuleList()
        for level, (width, count) in enumerate(zip(features, convolutions, strict=True)):
            layers = nn.Sequential()
            for place in range(count):
                layers.append(ConvModule(channels if place else width, channels, 3))
                if level:
                    layers.append(Doubling())
            self.scale_heads.append(layers)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        total: Tensor | None = None
        for index, (layers, level) in enumerate(zip(self.scale_heads, features, strict=True)):
            grown = seen[f"scale_head{index}"] = layers(level)
            total = grown if total is None else total + resized(grown, total)
        assert total is not None
        return self.conv_seg(total)


def fpn_head(geometry: FPNDecoder, backbone: Any, eps: float | None) -> FPNHead:
    """An empty head on the maps of a backbone or neck. Raises ConversionError if they are not as many."""
    widths = cast(Sequence[int], backbone.widths)
    refuse_other_maps("the FPN head", len(CONVOLUTIONS), widths)
    return made(FPNHead, features=widths, channels=geometry.channels, classes=geometry.classes)
