"""SegFormer's head (Xie et al., NeurIPS 2021) as its authors have it, and transformers.

Source: `mmseg/models/decode_heads/segformer_head.py` of NVlabs/SegFormer.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.layouts.heads.segformer import SegformerDecoder
from segzoo.models.conv2d import Conv2d
from segzoo.models.levels import refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class NvlabsHead(nn.Module):
    """Maps of several levels, the finest first, to class scores (b, c, h, w) at the finest one's size. The parameters' names are transformers'.

    Each level goes through a matrix, and all levels, at the finest one's size, through one more, with BatchNorm and ReLU. Nothing stands between
    the two matrices, and resizing is linear. So they are multiplied first, and each level goes through one matrix at its own size.
    """

    def __init__(self, *, features: Sequence[int], channels: int, classes: int):
        super().__init__()
        self.outputs = classes
        self.linear_c = nn.ModuleList(nn.ModuleDict({"proj": nn.Linear(width, channels)}) for width in features)
        self.linear_fuse = nn.Conv2d(len(features) * channels, channels, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(channels)
        self.classifier = Conv2d(channels, classes, 1)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Tensor:
        seen = noted(seen)
        shares = self.linear_fuse.weight.flatten(1).chunk(len(features), 1)  # the coarsest level's first
        total: Tensor | None = None
        for level, linear, share in zip(features, self.linear_c, reversed(shares), strict=True):
            proj = cast(nn.Linear, cast(nn.ModuleDict, linear)["proj"])
            found = F.conv2d(level, (share @ proj.weight)[:, :, None, None], share @ proj.bias)
            total = found if total is None else total + resized(found, total)
        assert total is not None
        fused = seen["linear_fuse"] = F.relu(self.batch_norm(total))
        return self.classifier(fused)


def nvlabs_head(geometry: SegformerDecoder, backbone: Any, eps: float | None) -> NvlabsHead:
    """An empty head on the maps of a backbone or neck. Raises ConversionError if they are not as many."""
    widths = cast(Sequence[int], backbone.widths)
    refuse_other_maps("SegFormer's head", geometry.levels, widths)
    return made(NvlabsHead, features=widths, channels=geometry.channels, classes=geometry.classes)
