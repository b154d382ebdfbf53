"""The linear head of Segmenter (Strudel et al., ICCV 2021), as in mmseg 1.2.2."""

from typing import Any

from torch import Tensor, nn

from segzoo.layouts.heads.mask import Decoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.made import made
from segzoo.models.seen import Seen


class LinearDecoder(nn.Module):
    """A 1x1 convolution from features (b, d, h, w) to class scores (b, c, h, w): FCNHead with `num_convs=0`."""

    def __init__(self, *, features: int, classes: int):
        super().__init__()
        self.outputs = classes
        self.conv_seg = Conv2d(features, classes, 1)

    def forward(self, features: Tensor, seen: Seen | None = None) -> Tensor:
        return self.conv_seg(features)


def linear_head(geometry: Decoder, backbone: Any, eps: float | None) -> LinearDecoder:
    """An empty head on the features of a backbone."""
    return made(LinearDecoder, features=backbone.width, classes=geometry.classes)
