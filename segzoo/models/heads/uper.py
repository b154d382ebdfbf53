"""UPerHead (Xiao et al., "Unified Perceptual Parsing", ECCV 2018), as in mmseg 1.2.2 `mmseg/models/decode_heads/uper_head.py`."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.uper import UPerDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class UPerHead(nn.Module):
    """Maps of several levels, the finest first, to class scores (b, c, h, w) at the finest one's size.

    The deepest map goes through a pyramid of poolings (PPM), the others through lateral convolutions; each gets the next deeper one added.
    """

    def __init__(self, *, features: Sequence[int], channels: int, bins: Sequence[int], classes: int):
        super().__init__()
        self.outputs = classes
        *finer, deepest = features
        self.conv_seg = Conv2d(channels, classes, 1)
        self.psp_modules = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvModule(deepest, channels, 1)) for side in bins)
        self.bottleneck = ConvModule(deepest + len(bins) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = ConvModule(len(features) * channels, channels, 3)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        *finer, deepest = features
        pyramid = [pooled(deepest) for pooled in self.psp_modules]
        levels = [lateral(level) for lateral, level in zip(self.lateral_convs, finer, strict=True)]
        levels.append(self.bottleneck(deepest, *pyramid))
        for index in reversed(range(len(finer))):
            levels[index] = levels[index] + resized(levels[index + 1], levels[index])
        for index, conv in enumerate(self.fpn_convs):
            levels[index] = conv(levels[index])
        fused = seen["fpn_bottleneck"] = self.fpn_bottleneck(*levels)
        return self.conv_seg(fused)


def uper_head(geometry: UPerDecoder, backbone: Any, eps: float | None) -> UPerHead:
    """An empty head on the maps of a backbone or neck, whose `widths` are their channels. Raises ConversionError if they are not as many."""
    widths = cast(Sequence[int], backbone.widths)
    if geometry.bins is None:
        raise ConversionError("the sides of the grids of the UPerNet head's pyramid are not known; they decide the result and show in no tensor")
    refuse_other_maps("the UPerNet head", geometry.levels, widths)
    return made(UPerHead, features=widths, channels=geometry.channels, bins=geometry.bins, classes=geometry.classes)
