"""The head of DPT (Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021), as in mmseg 1.2.2
`mmseg/models/decode_heads/dpt_head.py` with `readout_type='project'`.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.dpt import LEVELS, DptDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule, bare_conv, normalised
from segzoo.models.levels import refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.mlp import gelu
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import only_computed, traced

_BAND = 62
"""Rows of scores that are computed at once. With a row more on either side they are whole tiles of `winograd`."""


class ReassembleBlocks(nn.Module):
    """Patches (b, d, h, w) and class tokens (b, d) of four levels to maps at 4, 2, 1 and 1/2 times their size."""

    def __init__(self, features: int, widths: Sequence[int]):
        super().__init__()
        self.projects = nn.ModuleList(bare_conv(features, width, 1) for width in widths)
        first, second, _, last = widths
        self.resize_layers = nn.ModuleList(
            [nn.ConvTranspose2d(first, first, 4, 4), nn.ConvTranspose2d(second, second, 2, 2), nn.Identity(), nn.Conv2d(last, last, 3, 2, 1)]
        )
        self.readout_projects = nn.ModuleList(nn.Sequential(nn.Linear(2 * features, features)) for _ in widths)

    def forward(self, levels: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        found = []
        for index, (patches, token) in enumerate(levels):
            (readout,) = cast(nn.Sequential, self.readout_projects[index])
            project, resize = cast(nn.ModuleDict, self.projects[index])["conv"], self.resize_layers[index]
            found.append(resize(project(_read_out(cast(nn.Linear, readout), patches, token))))
        return found


def _read_out(readout: nn.Linear, patches: Tensor, token: Tensor) -> Tensor:
    """GELU of a linear layer of each patch with the class token beside it. The token's share is the same for all patches, and computed once."""
    of_patch, of_token = readout.weight.chunk(2, 1)
    x = F.linear(patches.permute(0, 2, 3, 1), of_patch) + F.linear(token, of_token, readout.bias)[:, None, None]
    return gelu(x).permute(0, 3, 1, 2)


class PreActConv(nn.Module):
    """ReLU, a 3x3 convolution, BatchNorm, in this order, with the names of mmcv's ConvModule. `alone` says that nobody else has the map."""

    def __init__(self, width: int, alone: bool):
        super().__init__()
        self.alone = alone
        self.conv = Conv2d(width, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return normalised(self.bn, self.conv(F.relu(x, inplace=self.alone)))


class PreActResidualConvUnit(nn.Module):
    """A map with what two pre-activated convolutions make of it added."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = PreActConv(width, alone=False)
        self.conv2 = PreActConv(width, alone=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(self.conv1(x))).add_(x)


class FeatureFusionBlock(nn.Module):
    """A map, with a finer one added that is fitted to it, to be enlarged to twice its size.

    Its last convolution, of one place, is computed before that enlargement, which is the same: both are linear, and the weights of a bilinear
    one add up to 1. mmseg enlarges first.
    """

    def __init__(self, width: int, adds: bool):
        super().__init__()
        self.project = bare_conv(width, width, 1)
        if adds:
            self.res_conv_unit1 = PreActResidualConvUnit(width)
        self.res_conv_unit2 = PreActResidualConvUnit(width)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        if finer is not None:
            fits = not traced() and finer.shape == x.shape  # a graph for any size resizes always: to the same size that changes nothing
            x = self.res_conv_unit1(finer if fits else resized(finer, x)).add_(x)
        return cast(Tensor, self.project["conv"](self.res_conv_unit2(x)))


class DPTHead(nn.Module):
    """Patches and class tokens of four levels to class scores (b, c, H, W), at 16 times the size of the coarsest level, which is rounded up."""

    def __init__(self, *, features: int, widths: Sequence[int], channels: int, classes: int):
        super().__init__()
        self.outputs = classes
        self.conv_seg = Conv2d(channels, classes, 1)
        self.reassemble_blocks = ReassembleBlocks(features, widths)
        self.convs = nn.ModuleList(bare_conv(width, channels, 3, bias=False) for width in widths)
        self.fusion_blocks = nn.ModuleList(FeatureFusionBlock(channels, adds=place > 0) for place in range(len(widths)))
        self.project = ConvModule(channels, channels, 3)

    def forward(self, features: Sequence[tuple[Tensor, Tensor]], seen: Seen | None = None) -> Tensor:
        asked, seen = seen, noted(seen)
        levels = self.reassemble_blocks(features)
        seen |= {f"reassembled{index}": level for index, level in enumerate(levels)}
        levels = [cast(nn.ModuleDict, conv)["conv"](level) for conv, level in zip(self.convs, levels, strict=True)]
        *coarser, last = self.fusion_blocks
        x = None
        for index, fusion in enumerate(coarser):
            coarsest = levels.pop()
            x = seen[f"fusion{index}"] = _twice(fusion(coarsest) if x is None else fusion(x, coarsest))
        x = last(x, levels.pop())
        if asked is None and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and only_computed():
            return self._scored_in_bands(x)
        x = seen[f"fusion{len(coarser)}"] = _twice(x)
        x = seen["project"] = self.project(x)
        return cast(Tensor, self.conv_seg(x))

    def _scored_in_bands(self, x: Tensor) -> Tensor:
        """Scores of a map (b, d, h, w) at twice its size, so many rows at a time: the largest maps of the network, of all channels, are never
        there as a whole.
        """
        h, w = x.shape[2:]
        rows = F.interpolate(torch.eye(h, dtype=x.dtype)[None], 2 * h, mode="linear", align_corners=True)[0].T
        found = x.new_empty(len(x), self.outputs, 2 * h, 2 * w)
        for top in range(0, 2 * h, _BAND):
            end = min(top + _BAND, 2 * h)
            first = max(top - 1, 0)  # the convolution sees a row more
            band = F.interpolate(_rows_of(x, rows[first : end + 1]), scale_factor=(1, 2), mode="bilinear", align_corners=True)
            found[:, :, top:end] = self.conv_seg(self.project(band))[:, :, top - first : end - first]
        return found


def _twice(x: Tensor) -> Tensor:
    """A map at twice its size, bilinear, its corners on corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _rows_of(x: Tensor, matrix: Tensor) -> Tensor:
    """What a matrix (to, from) makes of the rows of a map. It takes few of them."""
    taken = matrix.any(0).nonzero()
    first, last = int(taken[0]), int(taken[-1]) + 1
    return matrix[:, first:last] @ x[:, :, first:last]


def dpt_head(geometry: DptDecoder, backbone: Any, eps: float | None) -> DPTHead:
    """An empty head on a backbone that gives four maps, each with its class token. Raises ConversionError for any other backbone."""
    if not getattr(backbone, "class_outputs", False):
        raise ConversionError("DPT's head takes the class token beside each map, and the backbone before it gives none")
    refuse_other_maps("DPT's head", LEVELS, backbone.widths)
    return made(DPTHead, features=backbone.width, widths=geometry.widths, channels=geometry.channels, classes=geometry.classes)
