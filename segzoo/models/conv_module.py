"""Convolutions with the names of mmcv's ConvModule: with BatchNorm and ReLU, or bare."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.conv2d import Conv2d
from segzoo.models.levels import convolved
from segzoo.models.traced import only_computed


class ConvModule(nn.Module):
    """Maps (b, in, h, w) to (b, out, h, w). The convolution has no bias; its sides are padded so that the size stays.

    Several maps are resized to the first one's size and joined; see `convolved`.
    """

    def __init__(self, features: int, width: int, kernel: int):
        super().__init__()
        self.conv = Conv2d(features, width, kernel, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, *levels: Tensor) -> Tensor:
        return F.relu(normalised(self.bn, convolved(self.conv, levels)), inplace=True)


def normalised(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """BatchNorm of a map that nobody else has. In its own memory where it is only computed, not trained or written down as a graph."""
    if bn.training or not only_computed() or x.dtype not in (torch.float32, torch.float64):
        return cast(Tensor, bn(x))
    mean, variance = cast(Tensor, bn.running_mean), cast(Tensor, bn.running_var)
    scale = bn.weight * (variance + bn.eps).rsqrt()
    shift = bn.bias - mean * scale
    return torch.addcmul(shift[:, None, None], x, scale[:, None, None], out=x)


def bare_conv(features: int, width: int, kernel: int, bias: bool = True) -> nn.ModuleDict:
    """mmcv's ConvModule without norm and activation: its one module is `conv`."""
    return nn.ModuleDict({"conv": Conv2d(features, width, kernel, bias)})
