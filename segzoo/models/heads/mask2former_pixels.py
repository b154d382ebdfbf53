"""Mask2Former's pixel decoder, whose pixels of several maps attend to one another.

Source: mmdet 3.3.0 `mmdet/models/layers/msdeformattn_pixel_decoder.py`.
"""

from collections.abc import Sequence
from functools import partial
from math import pi
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.conv2d import Conv2d
from segzoo.models.heads.mask2former_attention import DeformableAttention
from segzoo.models.levels import resized
from segzoo.models.mlp import mlp

SCALES = 3  # the maps whose pixels attend to one another, all but the finest


def sines(h: int, w: int, width: int, like: Tensor) -> Tensor:
    """Positions (h x w, width) of a map's pixels: sines and cosines of row, then of column, counted from 1 and scaled to 2 pi.

    They are computed in float32, whatever the network computes in, as mmdet does.
    """
    half = width // 2
    periods = 10000 ** (2 * (torch.arange(half, dtype=torch.float32, device=like.device) // 2) / half)

    def waves(length: int) -> Tensor:
        counted = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
        angles = (counted / (counted[-1:] + 1e-6) * (2 * pi))[:, None] / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1)

    rows, columns = waves(h)[:, None].expand(-1, w, -1), waves(w).expand(h, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1).to(like.dtype)


def centres(h: int, w: int, like: Tensor) -> Tensor:
    """Column and row of each pixel's centre, as shares of its map: (h x w, 2). In float32, as mmdet does."""
    rows, columns = ((torch.arange(length, dtype=torch.float32, device=like.device) + 0.5) / length for length in (h, w))
    return torch.stack([columns.expand(h, -1), rows[:, None].expand(-1, w)], 2).flatten(0, 1).to(like.dtype)


def feed_forward(width: int, mlp: int) -> nn.ModuleDict:
    """mmcv's FFN: its nesting of names is `layers.0.0` and `layers.1`."""
    return nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(width, mlp)), nn.Linear(mlp, width)])})


def fed(ffn: nn.Module, x: Tensor) -> Tensor:
    """What comes of tokens, with them added."""
    expand, contract = cast(nn.ModuleList, cast(nn.ModuleDict, ffn)["layers"])
    return x + mlp(x, expand, contract, partial(F.relu, inplace=True))


def normed_conv(features: int, width: int, kernel: int, groups: int, bias: bool) -> nn.ModuleDict:
    """mmcv's ConvModule with GroupNorm, without activation: `conv` and `gn`."""
    return nn.ModuleDict({"conv": Conv2d(features, width, kernel, bias), "gn": nn.GroupNorm(groups, width)})


def convolved_normed(module: nn.Module, x: Tensor) -> Tensor:
    module = cast(nn.ModuleDict, module)
    return module["gn"](module["conv"](x))


class PixelLayer(nn.Module):
    """Deformable attention, then the feed-forward network, each with a norm after it."""

    def __init__(self, width: int, heads: int, points: int, mlp: int):
        super().__init__()
        self.self_attn = DeformableAttention(width, heads, SCALES, points)
        self.ffn = feed_forward(width, mlp)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: Tensor, positions: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        x = self.norms[0](x + self.self_attn(x, positions, places, sizes))
        return self.norms[1](fed(self.ffn, x))


class PixelDecoder(nn.Module):
    """Maps of four levels, the finest first, to features of masks (b, d, h, w) at the finest one's size, and maps of the others, coarsest first."""

    def __init__(self, features: Sequence[int], width: int, layers: int, heads: int, points: int, mlp: int, groups: int):
        super().__init__()
        finest, *coarser = features
        self.input_convs = nn.ModuleList(normed_conv(one, width, 1, groups, bias=True) for one in reversed(coarser))
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(PixelLayer(width, heads, points, mlp) for _ in range(layers))})
        self.level_encoding = nn.Embedding(len(coarser), width)
        self.lateral_convs = nn.ModuleList([normed_conv(finest, width, 1, groups, bias=False)])
        self.output_convs = nn.ModuleList([normed_conv(width, width, 3, groups, bias=False)])
        self.mask_feature = Conv2d(width, width, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        finest, *coarser = features
        maps = [convolved_normed(conv, level) for conv, level in zip(self.input_convs, reversed(coarser), strict=True)]
        sizes = [(level.shape[2], level.shape[3]) for level in maps]
        x = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        told = [sines(h, w, x.shape[2], x) + scale for (h, w), scale in zip(sizes, self.level_encoding.weight, strict=True)]
        positions, places = torch.cat(told), torch.cat([centres(h, w, x) for h, w in sizes])
        for layer in cast(nn.ModuleList, self.encoder["layers"]):
            x = layer(x, positions, places, sizes)
        split = x.transpose(1, 2).split([h * w for h, w in sizes], 2)
        maps = [level.unflatten(2, size) for level, size in zip(split, sizes, strict=True)]
        lateral = convolved_normed(self.lateral_convs[0], finest)
        fused = F.relu(convolved_normed(self.output_convs[0], lateral + resized(maps[-1], lateral)), inplace=True)
        return self.mask_feature(fused), maps
