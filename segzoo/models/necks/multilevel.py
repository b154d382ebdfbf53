"""MultiLevelNeck, as in mmseg 1.2.2 `mmseg/models/necks/multilevel_neck.py`."""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault
from segzoo.layouts.necks.multilevel import MultiLevel
from segzoo.models.conv_module import bare_conv
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced


class MultiLevelNeck(nn.Module):
    """Maps of one size to maps of several: each is resized by its scale between a 1x1 and a 3x3 convolution.

    It is resized by the factor, not to a size: at an odd size times 0.5 the two interpolate at other places.
    """

    def __init__(self, *, features: Sequence[int], width: int, scales: Sequence[float]):
        super().__init__()
        self.scales, self.widths = scales, [width] * len(scales)
        self.lateral_convs = nn.ModuleList(bare_conv(one, width, 1) for one in features)
        self.convs = nn.ModuleList(bare_conv(width, width, 3) for _ in scales)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> tuple[Tensor, ...]:
        seen = noted(seen)
        found = []
        for index, (level, scale) in enumerate(zip(features, self.scales, strict=True)):
            lateral, conv = cast(nn.ModuleDict, self.lateral_convs[index])["conv"], cast(nn.ModuleDict, self.convs[index])["conv"]
            if not traced() and min(int(side * scale) for side in level.shape[-2:]) < 1:
                raise EnvironmentFault(f"too small: a map of {level.shape[-2]}x{level.shape[-1]} has no size at scale {scale:g}")
            grown = F.interpolate(lateral(level), scale_factor=scale, mode="bilinear", align_corners=False)
            found.append(conv(grown))
            seen[f"neck{index}"] = found[-1]
        return tuple(found)


def multilevel_neck(geometry: MultiLevel, backbone: Any) -> MultiLevelNeck:
    """An empty neck on the maps of a backbone. Raises ConversionError if its scales are not known, or are not as many as the maps."""
    widths = cast(Sequence[int], backbone.widths)
    if geometry.scales is None:
        raise ConversionError("the scales of the multi-level neck are not known; they decide the result and show in no tensor")
    if not len(widths) == geometry.levels == len(geometry.scales):
        said = f"the neck takes {geometry.levels} maps and has {len(geometry.scales)} scales, and {len(widths)} maps come out of the backbone"
        raise ConversionError(f"{said}: out_indices names them")
    return made(MultiLevelNeck, features=widths, width=geometry.width, scales=geometry.scales)
