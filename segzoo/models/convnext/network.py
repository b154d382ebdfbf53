"""The ConvNeXt backbone, number for number as MMSegmentation's models use it.

Source: mmpretrain 1.2.0 `mmpretrain/models/backbones/convnext.py`. Maps are (b, d, h, w).
A side that is no multiple of a patch loses what is left over.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.layouts.convnext.geometry import Geometry
from segzoo.models.made import made
from segzoo.models.mlp import mlp
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced

_RATIO = 4  # how many times wider than its stage an MLP is


class ChannelNorm(nn.LayerNorm):
    """Layer norm of each place of a map (b, d, h, w) over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A 7 x 7 convolution of each channel alone, a norm, and an MLP for each place; the sum is scaled by channel. Names are mmpretrain's."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.depthwise_conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps)
        self.pointwise_conv1 = nn.Linear(width, _RATIO * width)
        self.pointwise_conv2 = nn.Linear(_RATIO * width, width)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        y = mlp(y, self.pointwise_conv1, self.pointwise_conv2)
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Image (b, channels, H, W), normalised, to a tuple of maps, the finest first: (b, d, H/p, W/p), and so on at half the size each, rounded down.

    Each map is the output of a stage after a norm of its own. Without `output_norms` there is one map alone, the last stage's after the
    final norm. Classifiers average that map first, and then apply the norm.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        patch: int = 4,
        channels: int = 3,
        output_norms: bool = True,
        eps: float = 1e-6,
    ):
        super().__init__()
        stages = range(len(depths))
        self.stride, self.channels = patch, channels
        self.coarsest = self.least = patch << stages[-1]  # pixels from one place of the last map to the next: a smaller image has none
        self.outputs = list(stages) if output_norms else [stages[-1]]
        self.widths = [widths[stage] for stage in self.outputs]
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(channels, widths[0], patch, patch), ChannelNorm(widths[0], eps))])
        for before, after in pairwise(widths):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(before, eps), nn.Conv2d(before, after, 2, 2)))
        self.stages = nn.ModuleList(nn.ModuleList(Block(width, eps) for _ in range(depth)) for width, depth in zip(widths, depths, strict=True))
        for stage in self.outputs:
            self.add_module(f"norm{stage}", ChannelNorm(widths[stage], eps))

    @property
    def width(self) -> int:
        """Its one width. Raises ConversionError where there are several: a head of a plain ViT does not fit."""
        if len(self.widths) > 1:
            raise ConversionError(
                f"the head takes a map of one width, and {len(self.widths)} of {', '.join(map(str, self.widths))} come out of the ConvNeXt"
            )
        return self.widths[0]

    def maps(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...]:
        """The maps with a norm, (b, d, h, w) each. `seen`, if given, collects the named intermediates.

        Raises EnvironmentFault for an image of which the last stage would see nothing.
        """
        seen = noted(seen)
        if not traced() and min(image.shape[-2:]) < self.least:
            raise EnvironmentFault(f"a ConvNeXt takes {self.least} x {self.least} pixels at least, found {image.shape[-1]} x {image.shape[-2]}")
        x, found = image, []
        for index, (before, blocks) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = seen[f"downsampled{index}"] = before(x)
            for place, block in enumerate(cast(nn.ModuleList, blocks)):
                x = seen[f"stage{index}.block{place}"] = block(x)
            if index in self.outputs:
                found.append(getattr(self, f"norm{index}")(x))
                seen[f"out{index}"] = found[-1]
        return tuple(found)

    def forward(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...] | Tensor:
        found = self.maps(image, seen)
        return found if len(found) > 1 else found[0]

    def features(self, image: Tensor, layers: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """The maps of these stages, in this order; 0 is the first stage, -1 the last.

        Raises UsageError for one without a norm, or that there is not.
        """
        count, found = len(self.stages), dict(zip(self.outputs, self.maps(image), strict=True))
        if wrong := [layer for layer in layers if not -count <= layer < count or layer % count not in found]:
            raise UsageError(f"layer {wrong[0]}: the outputs of this ConvNeXt are those of its stages {', '.join(map(str, found))}")
        return tuple(found[layer % count] for layer in layers)


def convnext(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-6, resample: str | None = None) -> ConvNeXt:
    """An empty backbone of this geometry. It has no position embeddings that could be resampled."""
    sizes = ("widths", "depths", "patch", "channels", "output_norms")
    return made(ConvNeXt, **{name: getattr(geometry, name) for name in sizes}, eps=eps)
