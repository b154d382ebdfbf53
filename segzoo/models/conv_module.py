"""Convolutions with the names of mmcv's ConvModule: with BatchNorm and ReLU, or bare."""

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.levels import convolved
from segzoo.models.winograd import Conv2d


class ConvModule(nn.Module):
    """Maps (b, in, h, w) to (b, out, h, w). The convolution has no bias; its sides are padded so that the size stays.

    Several maps are resized to the first one's size and joined; see `convolved`.
    """

    def __init__(self, features: int, width: int, kernel: int):
        super().__init__()
        self.conv = Conv2d(features, width, kernel, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, *levels: Tensor) -> Tensor:
        return F.relu(self.bn(convolved(self.conv, levels)), inplace=True)


def bare_conv(features: int, width: int, kernel: int, bias: bool = True) -> nn.ModuleDict:
    """mmcv's ConvModule without norm and activation: its one module is `conv`."""
    return nn.ModuleDict({"conv": Conv2d(features, width, kernel, bias)})
