"""The ResNet backbone (He et al., CVPR 2016), of bottlenecks that halve a map in their second convolution, as in torchvision.

Source: mmseg 1.2.2 `mmseg/models/backbones/resnet.py` with `style='pytorch'`, strides 1, 2, 2, 2 and no dilation. Maps are (b, d, h, w).
"""

from collections.abc import Collection, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, UsageError
from segzoo.layouts.resnet.geometry import Geometry
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted

_WIDER = 4  # how many times wider than a bottleneck its output is


class Bottleneck(nn.Module):
    """Convolutions of 1, 3 and 1, each with a batch norm. The first bottleneck of a stage has a shortcut of its own."""

    def __init__(self, features: int, width: int, stride: int, shortcut: bool, eps: float):
        super().__init__()
        self.conv1 = nn.Conv2d(features, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.conv3 = nn.Conv2d(width, _WIDER * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(_WIDER * width, eps)
        self.downsample: nn.Module | None = None
        if shortcut:
            conv = nn.Conv2d(features, _WIDER * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(_WIDER * width, eps))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    """Image (b, channels, H, W), normalised, to four maps, the finest first: (b, d, H/4, W/4), and so on at half the size each, rounded up."""

    def __init__(self, *, width: int, depths: Sequence[int], channels: int = 3, eps: float = 1e-5):
        super().__init__()
        self.stride, self.channels = 4, channels
        self.coarsest = 32  # pixels from one place of the last map to the next
        self.widths = [_WIDER * width << stage for stage in range(len(depths))]
        self.conv1 = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        features = width
        for stage, depth in enumerate(depths):
            first = Bottleneck(features, width << stage, 2 if stage else 1, True, eps)
            features = self.widths[stage]
            others = [Bottleneck(features, width << stage, 1, False, eps) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))

    @property
    def width(self) -> int:
        """Raises ConversionError: a head of a plain ViT does not fit."""
        widths = ", ".join(map(str, self.widths))
        raise ConversionError(f"the head takes a map of one width, and {len(self.widths)} of {widths} come out of the ResNet")

    def forward(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...]:
        seen = noted(seen)
        x = seen["stem"] = F.max_pool2d(F.relu(self.bn1(self.conv1(image)), inplace=True), 3, 2, 1)
        found = []
        for stage in range(len(self.widths)):
            for index, block in enumerate(cast(nn.Sequential, getattr(self, f"layer{stage + 1}"))):
                x = seen[f"stage{stage}.block{index}"] = block(x)
            found.append(x)
        return tuple(found)

    def features(self, image: Tensor, layers: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """The maps of these stages, in this order; 0 is the first stage, -1 the last. Raises UsageError for one that there is not."""
        count = len(self.widths)
        if wrong := [layer for layer in layers if not -count <= layer < count]:
            raise UsageError(f"layer {wrong[0]}: the outputs of this ResNet are those of its stages 0, 1, 2, 3")
        found = self(image)
        return tuple(found[layer] for layer in layers)


def resnet(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-5, resample: str | None = None) -> ResNet:
    """An empty backbone of this geometry. It has no position embeddings that could be resampled."""
    return made(ResNet, **{name: getattr(geometry, name) for name in ("width", "depths", "channels")}, eps=eps)
