"""Mask2Former's head ("Masked-attention Mask Transformer", Cheng et al., CVPR 2022), as in mmseg 1.2.2 with mmdet 3.3.0.

Sources: `mmseg/models/decode_heads/mask2former_head.py`, `mmdet/models/dense_heads/mask2former_head.py`.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.heads.mask2former import LEVELS, Mask2FormerDecoder
from segzoo.models.heads.mask2former_pixels import PixelDecoder, fed, feed_forward, sines
from segzoo.models.levels import refuse_other_maps, resized
from segzoo.models.made import made
from segzoo.models.masks import Masks
from segzoo.models.seen import Seen, noted
from segzoo.models.vit.network import Attention


class QueryAttention(Attention):
    """Multi-head attention of queries to pixels, or to one another, with the parameter names of `nn.MultiheadAttention`."""

    def forward(self, asking: Tensor, asked: Tensor, told: Tensor, seen: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Queries (b, q, d), keys and values (b, n, d) to (b, q, d). `seen` (b, q, n) is which of the keys each query sees."""
        parts = zip((asking, asked, told), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2) for x, weight, bias in parts)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, None if seen is None else seen[:, None]).transpose(1, 2).flatten(2))


class QueryLayer(nn.Module):
    """Attention to the pixels of a map within each query's mask, attention among queries, a feed-forward network, each with a norm after it."""

    def __init__(self, width: int, heads: int, mlp: int):
        super().__init__()
        self.self_attn = nn.ModuleDict({"attn": QueryAttention(width, heads)})
        self.cross_attn = nn.ModuleDict({"attn": QueryAttention(width, heads)})
        self.ffn = feed_forward(width, mlp)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, positions: Tensor, pixels: Tensor, places: Tensor, seen: Tensor) -> Tensor:
        x = self.norms[0](x + self.cross_attn["attn"](x + positions, pixels + places, pixels, seen))
        x = self.norms[1](x + self.self_attn["attn"](x + positions, x + positions, x))
        return self.norms[2](fed(self.ffn, x))


class Mask2FormerHead(nn.Module):
    """Maps of four levels, the finest first, to a mask for each query, at the finest one's size, and what it means; see `Masks`.

    Layer by layer the queries look at one map after the other, the coarsest first, each within the mask that it has so far. A query whose mask is
    empty looks at all pixels. Masks at a map's size are made of features at that size, which is the same: resizing is linear.
    """

    def __init__(
        self,
        *,
        features: Sequence[int],
        channels: int,
        queries: int,
        layers: int,
        mlp: int,
        pixel_layers: int,
        pixel_mlp: int,
        heads: int,
        points: int,
        groups: int,
        classes: int,
    ):
        super().__init__()
        self.outputs = classes
        self.pixel_decoder = PixelDecoder(features, channels, pixel_layers, heads, points, pixel_mlp, groups)
        blocks = nn.ModuleList(QueryLayer(channels, heads, mlp) for _ in range(layers))
        self.transformer_decoder = nn.ModuleDict({"layers": blocks, "post_norm": nn.LayerNorm(channels)})
        self.query_embed = nn.Embedding(queries, channels)
        self.query_feat = nn.Embedding(queries, channels)
        self.level_embed = nn.Embedding(len(features) - 1, channels)
        self.cls_embed = nn.Linear(channels, classes + 1)  # the last one says that a query has found nothing
        linears = [nn.Linear(channels, channels) for _ in range(3)]
        self.mask_embed = nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2])

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> Masks:
        seen = noted(seen)
        painted, maps = self.pixel_decoder(features)
        seen |= {"mask_features": painted, **{f"pixel_level{index}": level for index, level in enumerate(maps)}}
        coarse = [resized(painted, level) for level in maps]
        places = [sines(level.shape[2], level.shape[3], level.shape[1], level) for level in maps]
        pixels = [level.flatten(2).transpose(1, 2) + scale for level, scale in zip(maps, self.level_embed.weight, strict=True)]
        x, positions = self.query_feat.weight.expand(len(painted), -1, -1), self.query_embed.weight
        for index, layer in enumerate(cast(nn.ModuleList, self.transformer_decoder["layers"])):
            turn = index % len(maps)
            within = self._masks(x, coarse[turn]).flatten(2).sigmoid() >= 0.5
            within = within | ~within.any(2, keepdim=True)
            x = seen[f"dec_layer{index}"] = layer(x, positions, pixels[turn], places[turn], within)
        masks = seen["masks"] = self._masks(x, painted)
        said = seen["classes"] = self.cls_embed(self.transformer_decoder["post_norm"](x))
        return Masks(masks, said.softmax(2)[..., :-1])

    def _masks(self, x: Tensor, features: Tensor) -> Tensor:
        """The masks (b, q, h, w) of queries, by features (b, d, h, w)."""
        asked = self.mask_embed(self.transformer_decoder["post_norm"](x))
        return (asked @ features.flatten(2)).unflatten(2, features.shape[-2:])


def mask2former_head(geometry: Mask2FormerDecoder, backbone: Any, eps: float | None) -> Mask2FormerHead:
    """An empty head on the maps of a backbone. Raises ConversionError if they are not as many, or if what no tensor shows is not known."""
    widths = cast(Sequence[int], backbone.widths)
    if geometry.heads is None or geometry.groups is None:
        raise ConversionError("the heads and groups of Mask2Former's head are not known; they decide the result and show in no tensor")
    if geometry.samples % geometry.heads or geometry.channels % geometry.heads or geometry.channels % geometry.groups:
        said = f"{geometry.heads} heads and {geometry.groups} groups do not divide {geometry.channels} channels"
        raise ConversionError(f"Mask2Former's head: {said} and {geometry.samples} points")
    refuse_other_maps("Mask2Former's head", LEVELS, widths)
    sizes = {
        name: getattr(geometry, name) for name in ("channels", "queries", "layers", "mlp", "pixel_layers", "pixel_mlp", "heads", "groups", "classes")
    }
    return made(Mask2FormerHead, features=widths, points=geometry.samples // geometry.heads, **sizes)
