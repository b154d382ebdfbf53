"""Attention to a few places of several maps, which are anywhere ("Deformable DETR", Zhu et al., ICLR 2021), in plain torch.

As in mmcv 2.1 `mmcv/ops/multi_scale_deform_attn.py`, whose path for processors is plain torch too.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Each pixel looks at `points` places in each of several maps, a head at its own. Places and weights are computed from the pixel alone.

    The places lie around the pixel's own place, at offsets in pixels of the map that is looked at, and are interpolated bilinearly. Outside of a
    map all is zero.
    """

    def __init__(self, width: int, heads: int, scales: int, points: int):
        super().__init__()
        self.heads, self.scales, self.points = heads, scales, points
        self.sampling_offsets = nn.Linear(width, heads * scales * points * 2)
        self.attention_weights = nn.Linear(width, heads * scales * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Pixels (b, n, d) of all maps, one map after the other, to the same.

        `positions` (b, n, d) are added to what offsets and weights are computed from. `places` (n, 2) are column and row of each pixel, as shares of
        its map. `sizes` are rows and columns of each map.
        """
        b, n, d = x.shape
        asked = x + positions
        offsets = self.sampling_offsets(asked).view(b, n, self.heads, self.scales, self.points, 2).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
        weights = self.attention_weights(asked).view(b, n, self.heads, self.scales * self.points).softmax(-1)
        weights = weights.unflatten(-1, (self.scales, self.points)).permute(3, 0, 2, 1, 4).flatten(1, 2)
        values = self.value_proj(x).transpose(1, 2).reshape(b * self.heads, d // self.heads, n)
        found = torch.zeros_like(values)
        for level, (h, w), offset, weight in zip(values.split([h * w for h, w in sizes], 2), sizes, offsets, weights, strict=True):
            side = torch.stack([torch.scalar_tensor(one, dtype=x.dtype, device=x.device) for one in (w, h)])
            grid = 2 * (places[:, None] + offset / side) - 1  # -1 and 1 are the map's borders
            sampled = F.grid_sample(level.unflatten(2, (h, w)), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            found += sampled.mul_(weight[:, None]).sum(-1)
        return self.output_proj(found.view(b, d, n).transpose(1, 2))
