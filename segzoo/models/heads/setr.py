"""SETR's naive and progressive heads (Zheng et al., CVPR 2021), as in mmseg 1.2.2 `mmseg/models/decode_heads/setr_up_head.py`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.setr import SetrDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import enlarged
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class SETRUPHead(nn.Module):
    """The last map (b, d, h, w), normalised, through convolutions that each enlarge it `scale` times, to class scores (b, c, H, W).

    The last 1x1 convolution and the enlargement before it are linear, and the weights of a bilinear one add up to 1. So the scores are
    computed first and enlarged then: fewer multiplications, and no large map of all channels.
    """

    def __init__(self, *, features: int, channels: int, convs: int, kernel: int, scale: int, classes: int, eps: float = 1e-6):
        super().__init__()
        self.outputs, self.scale = classes, scale
        self.conv_seg = Conv2d(channels, classes, 1)
        self.norm = nn.LayerNorm(features, eps)
        widths = [features, *[channels] * convs]
        self.up_convs = nn.ModuleList(nn.Sequential(ConvModule(width, channels, kernel)) for width in widths[:-1])

    def forward(self, features: Tensor | Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        x = features if isinstance(features, Tensor) else features[-1]
        x = seen["norm"] = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for index, conv in enumerate(self.up_convs):
            x = conv(x if index == 0 else enlarged(x, self.scale))
            seen[f"up_conv{index}"] = x
        return enlarged(self.conv_seg(x), self.scale)


def setr_head(geometry: SetrDecoder, backbone: Any, eps: float | None) -> SETRUPHead:
    """An empty head on the last map of a backbone. Raises ConversionError if the factor of its enlargements is not known."""
    if geometry.scale is None:
        raise ConversionError("the factor by which SETR's head enlarges its maps is not known; it decides the result and shows in no tensor")
    sizes = {name: getattr(geometry, name) for name in ("channels", "convs", "kernel", "scale", "classes")}
    return made(SETRUPHead, features=backbone.widths[-1], eps=eps or 1e-6, **sizes)
