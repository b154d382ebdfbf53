"""SETR's head for multi-level feature aggregation (Zheng et al., CVPR 2021), as in mmseg 1.2.2 `mmseg/models/decode_heads/setr_mla_head.py`."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.setr_mla import SetrMlaDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import enlarged, refuse_other_maps
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class SETRMLAHead(nn.Module):
    """Maps of one size, each through two convolutions, joined and enlarged `scale` times, to class scores (b, c, H, W).

    The scores are computed before they are enlarged, which is the same: see `SETRUPHead`.
    """

    def __init__(self, *, features: Sequence[int], channels: int, scale: int, classes: int):
        super().__init__()
        self.outputs, self.scale = classes, scale
        self.conv_seg = Conv2d(len(features) * channels, classes, 1)
        self.up_convs = nn.ModuleList(nn.Sequential(ConvModule(width, channels, 3), ConvModule(channels, channels, 3)) for width in features)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        branches = [conv(level) for conv, level in zip(self.up_convs, features, strict=True)]
        seen |= {f"branch{index}": branch for index, branch in enumerate(branches)}
        return enlarged(self.conv_seg(torch.cat(branches, 1)), self.scale)


def setr_mla_head(geometry: SetrMlaDecoder, backbone: Any, eps: float | None) -> SETRMLAHead:
    """An empty head on the maps of a neck or backbone. Raises ConversionError if they are not as many, or if its factor is not known."""
    widths = cast(Sequence[int], backbone.widths)
    if geometry.scale is None:
        raise ConversionError("the factor by which SETR-MLA's head enlarges its maps is not known; it decides the result and shows in no tensor")
    refuse_other_maps("SETR-MLA's head", geometry.levels, widths)
    return made(SETRMLAHead, features=widths, channels=geometry.channels, scale=geometry.scale, classes=geometry.classes)
