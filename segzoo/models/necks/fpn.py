"""FPN (Lin et al., CVPR 2017), as in mmseg 1.2.2 `mmseg/models/necks/fpn.py`."""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.layouts.necks.fpn import Pyramid
from segzoo.models.conv_module import bare_conv
from segzoo.models.levels import refuse_other_maps
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class FPN(nn.Module):
    """Maps of several sizes, the finest first, to as many of one width. Each gets the next coarser one added, by nearest neighbours."""

    def __init__(self, *, features: Sequence[int], width: int):
        super().__init__()
        self.widths = [width] * len(features)
        self.lateral_convs = nn.ModuleList(bare_conv(one, width, 1) for one in features)
        self.fpn_convs = nn.ModuleList(bare_conv(width, width, 3) for _ in features)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> tuple[Tensor, ...]:
        seen = noted(seen)
        levels = [cast(nn.ModuleDict, lateral)["conv"](level) for lateral, level in zip(self.lateral_convs, features, strict=True)]
        for index in reversed(range(len(levels) - 1)):
            levels[index] = levels[index] + F.interpolate(levels[index + 1], levels[index].shape[-2:], mode="nearest")
        for index, conv in enumerate(self.fpn_convs):
            levels[index] = seen[f"neck{index}"] = cast(nn.ModuleDict, conv)["conv"](levels[index])
        return tuple(levels)


def fpn_neck(geometry: Pyramid, backbone: Any) -> FPN:
    """An empty neck on the maps of a backbone. Raises ConversionError if they are not as many."""
    widths = cast(Sequence[int], backbone.widths)
    refuse_other_maps("the FPN", geometry.levels, widths)
    return made(FPN, features=widths, width=geometry.width)
