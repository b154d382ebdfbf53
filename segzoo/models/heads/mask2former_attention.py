"""Attention to a few places of several maps, which are anywhere ("Deformable DETR", Zhu et al., ICLR 2021), in plain torch.

As in mmcv 2.1 `mmcv/ops/multi_scale_deform_attn.py`, whose path for processors is plain torch too.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.traced import only_computed


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
        b, n, _ = x.shape
        asked, values = x + positions, self.value_proj(x)
        offsets = self.sampling_offsets(asked).view(b, n, self.heads, self.scales, self.points, 2)
        weights = self.attention_weights(asked).view(b, n, self.heads, -1).softmax(-1).view(offsets.shape[:-1])
        in_rows = only_computed() and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
        found = (_from_rows if in_rows else _from_maps)(values, offsets, weights, places, sizes)
        return self.output_proj(found)


def _from_maps(values: Tensor, offsets: Tensor, weights: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Values (b, n, d) at places and offsets, weighted and summed: (b, n, d). Of all maps one after the other, as mmcv does."""
    b, n, d = values.shape
    heads = offsets.shape[2]
    maps = values.transpose(1, 2).reshape(b * heads, d // heads, n).split([h * w for h, w in sizes], 2)
    offsets, weights = offsets.permute(3, 0, 2, 1, 4, 5).flatten(1, 2), weights.permute(3, 0, 2, 1, 4).flatten(1, 2)
    found = torch.zeros(b * heads, d // heads, n, dtype=values.dtype, device=values.device)
    for level, (h, w), offset, weight in zip(maps, sizes, offsets, weights, strict=True):
        side = torch.stack([torch.scalar_tensor(one, dtype=values.dtype, device=values.device) for one in (w, h)])
        grid = 2 * (places[:, None] + offset / side) - 1  # -1 and 1 are the map's borders
        sampled = F.grid_sample(level.unflatten(2, (h, w)), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        found += sampled.mul_(weight[:, None]).sum(-1)
    return found.view(b, d, n).transpose(1, 2)


def _from_rows(values: Tensor, offsets: Tensor, weights: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """The same. Each head of each pixel is a row of a table, and weighted rows are summed: less than half the time on a processor."""
    b, n, heads = offsets.shape[:3]
    table = values.view(b * n * heads, -1)
    height, width = torch.tensor(sizes, dtype=values.dtype).T[:, :, None]
    begins = torch.tensor([0, *(h * w for h, w in sizes[:-1])]).cumsum(0)
    images = n * torch.arange(b)[:, None, None, None]
    first = (heads * (images + begins) + torch.arange(heads)[:, None])[..., None].int()
    columns = [(heads * pixel.int(), share) for pixel, share in _around(offsets[..., 0], places[:, 0], width)]
    rows = [((heads * width).int() * pixel.int() + first, share * weights) for pixel, share in _around(offsets[..., 1], places[:, 1], height)]
    found = torch.zeros_like(table)
    for row, weight in rows:
        for column, share in columns:
            taken, parts = (one.view(len(table), -1) for one in (row + column, weight * share))
            found += F.embedding_bag(taken, table, mode="sum", per_sample_weights=parts)
    return found.view(b, n, -1)


def _around(offsets: Tensor, places: Tensor, sides: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The pixels on either side of places along an axis, and the share of each, which is 0 outside of the map."""
    at = offsets + (places[:, None, None, None] * sides - 0.5)
    before = at.floor()
    part = at - before
    for pixel, share in ((before, 1 - part), (before + 1, part)):
        within = pixel.nan_to_num(0.0).clamp_(min=0).minimum(sides - 1)  # of the map too where the place is no number
        yield within, share * (within == pixel)
