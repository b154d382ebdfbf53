"""SegFormer's head (Xie et al., NeurIPS 2021) as MMSegmentation has it: mmseg 1.2.2 `mmseg/models/decode_heads/segformer_head.py`."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from segzoo.layouts.heads.segformer import SegformerDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import refuse_other_maps
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class SegformerHead(nn.Module):
    """Maps of several levels, the finest first, to class scores (b, c, h, w) at the finest one's size.

    Each level goes through a convolution of side 1, with BatchNorm and ReLU. All levels, at the finest one's size, go through one more.
    """

    def __init__(self, *, features: Sequence[int], channels: int, classes: int):
        super().__init__()
        self.outputs = classes
        self.conv_seg = Conv2d(channels, classes, 1)
        self.convs = nn.ModuleList(ConvModule(width, channels, 1) for width in features)
        self.fusion_conv = ConvModule(len(features) * channels, channels, 1)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        levels = [conv(level) for conv, level in zip(self.convs, features, strict=True)]
        seen.update({f"level{index}": level for index, level in enumerate(levels)})
        fused = seen["fusion_conv"] = self.fusion_conv(*levels)
        return self.conv_seg(fused)


def segformer_head(geometry: SegformerDecoder, backbone: Any, eps: float | None) -> SegformerHead:
    """An empty head on the maps of a backbone or neck. Raises ConversionError if they are not as many."""
    widths = cast(Sequence[int], backbone.widths)
    refuse_other_maps("SegFormer's head", geometry.levels, widths)
    return made(SegformerHead, features=widths, channels=geometry.channels, classes=geometry.classes)
