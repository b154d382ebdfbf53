"""A convolution, BatchNorm and ReLU with the names of mmcv's ConvModule."""

import torch.nn.functional as F
from torch import Tensor, nn


class ConvModule(nn.Module):
    """Maps (b, in, h, w) to (b, out, h, w). The convolution has no bias; its sides are padded so that the size stays."""

    def __init__(self, features: int, width: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(features, width, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)
