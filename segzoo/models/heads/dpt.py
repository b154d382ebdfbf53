"""The head of DPT (Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021), as in mmseg 1.2.2
`mmseg/models/decode_heads/dpt_head.py` with `readout_type='project'`.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.dpt import LEVELS, DptDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule, bare_conv, normalised
from segzoo.models.levels import refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced


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
    return F.gelu(x).permute(0, 3, 1, 2)


class PreActConv(nn.Module):
    """ReLU, a 3x3 convolution, BatchNorm, in this order, with the names of mmcv's ConvModule."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = Conv2d(width, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return normalised(self.bn, self.conv(F.relu(x)))


class PreActResidualConvUnit(nn.Module):
    """A map with what two pre-activated convolutions make of it added."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = PreActConv(width)
        self.conv2 = PreActConv(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class FeatureFusionBlock(nn.Module):
    """A map, with a finer one added that is fitted to it, at twice its size.

    The last 1x1 convolution is computed before the enlargement, which is the same: both are linear, and the weights of a bilinear one add up
    to 1. mmseg enlarges first.
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
            x = x + self.res_conv_unit1(finer if fits else resized(finer, x))
        x = self.project["conv"](self.res_conv_unit2(x))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


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
        seen = noted(seen)
        levels = self.reassemble_blocks(features)
        seen |= {f"reassembled{index}": level for index, level in enumerate(levels)}
        levels = [cast(nn.ModuleDict, conv)["conv"](level) for conv, level in zip(self.convs, levels, strict=True)]
        x = None
        for index, fusion in enumerate(self.fusion_blocks):
            coarsest = levels.pop()
            x = seen[f"fusion{index}"] = fusion(coarsest) if x is None else fusion(x, coarsest)
        x = seen["project"] = self.project(x)
        return self.conv_seg(x)


def dpt_head(geometry: DptDecoder, backbone: Any, eps: float | None) -> DPTHead:
    """An empty head on a backbone that gives four maps, each with its class token. Raises ConversionError for any other backbone."""
    if not getattr(backbone, "class_outputs", False):
        raise ConversionError("DPT's head takes the class token beside each map, and the backbone before it gives none")
    refuse_other_maps("DPT's head", LEVELS, backbone.widths)
    return made(DPTHead, features=backbone.width, widths=geometry.widths, channels=geometry.channels, classes=geometry.classes)
