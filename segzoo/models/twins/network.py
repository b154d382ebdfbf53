"""The Twins backbones PCPVT and SVT (Chu et al., NeurIPS 2021), number for number as MMSegmentation's models use them.

Source: mmseg 1.2.2 `mmseg/models/backbones/twins.py`, which computes as the authors' segmentation program does. Maps are (b, h, w, d).
"""

from collections.abc import Collection, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.layouts.twins.geometry import SVT, Geometry
from segzoo.models.made import made
from segzoo.models.mlp import mlp
from segzoo.models.seen import Seen, noted
from segzoo.models.swin.network import joined, windows
from segzoo.models.traced import traced

_APART = -1000.0  # what mmseg adds to the attention of a token and a padded place


def mask(h: int, w: int, side: int, like: Tensor) -> Tensor:
    """What is added to the attention of the windows of a padded map: (windows, 1, side x side, side x side).

    Tokens and padded places do not see each other. That holds only where both sides are padded: else mmseg and the authors' program
    mark the whole map as padded, and nothing is apart.
    """
    below, right = -h % side, -w % side
    rows, columns = (torch.arange(length, device=like.device) for length in (h + below, w + right))
    padded = (rows[:, None] >= h) | (columns >= w)
    padded = padded & (torch.scalar_tensor(below * right, dtype=torch.int64, device=like.device) > 0)
    part = windows(padded[None, :, :, None], side)[0, :, :, 0]
    return ((part[:, None, :] != part[:, :, None]).to(like.dtype) * _APART)[:, None]


class LocalAttention(nn.Module):
    """Multi-head self-attention within windows of a map, which is padded with zeros, right and bottom, to whole windows."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """`apart` is the mask of one image's windows."""
        b, h, w, d = x.shape
        x = F.pad(x, (0, 0, 0, -w % self.side, 0, -h % self.side))
        padded = x.shape[1:3]
        x = windows(x, self.side)
        _, count, n, _ = x.shape
        q, k, v = self.qkv(x).view(b * count, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if apart is not None:
            apart = apart.expand(b, -1, -1, -1, -1).flatten(0, 1)
        x = F.scaled_dot_product_attention(q, k, v, apart).transpose(1, 2).reshape(b, count, n, d)
        return self.proj(joined(x, self.side, *padded)[:, :h, :w])


class Projections(nn.Module):
    """The matrices of an attention, with the parameter names of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Tokens (b, n, d) that attend to others (b, m, d)."""
        b, n, d = x.shape
        shape = (self.heads, d // self.heads)
        q = F.linear(x, self.in_proj_weight[:d], self.in_proj_bias[:d]).view(b, n, *shape).transpose(1, 2)
        kv = F.linear(keys, self.in_proj_weight[d:], self.in_proj_bias[d:])
        k, v = kv.view(b, keys.shape[1], 2, *shape).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class GlobalAttention(nn.Module):
    """Multi-head attention of all tokens to keys and values that are each made of a square of tokens. What is no whole square makes none."""

    def __init__(self, width: int, heads: int, reduction: int, eps: float):
        super().__init__()
        self.attn = Projections(width, heads)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width, eps)
        self.reduction = reduction

    def forward(self, x: Tensor) -> Tensor:
        keys = x if self.reduction == 1 else self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.attn(x.flatten(1, 2), keys.flatten(1, 2)).view(x.shape)


class Block(nn.Module):
    """Pre-norm transformer block on a map. The nesting of names (`attn.attn`, `ffn.layers.0.0`) is mmseg's."""

    def __init__(self, width: int, attention: nn.Module, mlp: int, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width, eps)
        self.ffn = nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(width, mlp)), nn.Linear(mlp, width)])})

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        y = self.norm1(x)
        x = x + (self.attn(y, apart) if isinstance(self.attn, LocalAttention) else self.attn(y))
        expand, contract = cast(nn.ModuleList, self.ffn["layers"])
        return x + mlp(self.norm2(x), expand, contract)


class PatchEmbedding(nn.Module):
    """Map (b, channels, H, W) to a map (b, h, w, d). A side that is no multiple of the patch is padded with zeros, right or bottom."""

    def __init__(self, channels: int, width: int, patch: int, eps: float):
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, patch, patch)
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class PositionEncoding(nn.Module):
    """Adds to each token what a 3 x 3 convolution of each channel alone makes of its neighbourhood (Chu et al., CPVT, 2021)."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Twins(nn.Module):
    """Image (b, channels, H, W), normalised, to a tuple of maps, the finest first: (b, d, H/p, W/p), and so on at half the size each, rounded up.

    Each map is the output of a stage, after a norm of its own if there are `output_norms`. A `window` is what every second block, from the
    first on, attends within; without one all blocks attend to the whole map.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        window: int | None = None,
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        reductions: Sequence[int] = (8, 4, 2, 1),
        output_norms: bool = False,
        patch: int = 4,
        channels: int = 3,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.stride, self.channels, self.window, self.widths = patch, channels, window, list(widths)
        self.coarsest = patch << len(widths) - 1  # pixels from one token of the last stage to the next
        self.least = max((reduction - 1) * (patch << stage) + 1 for stage, reduction in enumerate(reductions))  # pixels: fewer make no key
        self.pads = True  # sides that are no whole patches
        before = [channels, *widths]
        self.patch_embeds = nn.ModuleList(PatchEmbedding(before[stage], width, 2 if stage else patch, eps) for stage, width in enumerate(widths))
        self.position_encodings = nn.ModuleList(PositionEncoding(width) for width in widths)
        self.layers = nn.ModuleList()
        for width, depth, number, ratio, reduction in zip(widths, depths, heads, mlp_ratios, reductions, strict=True):
            blocks = nn.ModuleList()
            for index in range(depth):
                local = window is not None and index % 2 == 0
                attention = LocalAttention(width, number, cast(int, window)) if local else GlobalAttention(width, number, reduction, eps)
                blocks.append(Block(width, attention, ratio * width, eps))
            self.layers.append(blocks)
        if output_norms:
            self.norm_list = nn.ModuleList(nn.LayerNorm(width, eps) for width in widths)
        self.output_norms = output_norms

    @property
    def width(self) -> int:
        """Raises ConversionError: it gives maps of several widths, and a head of a plain ViT does not fit."""
        raise ConversionError(f"the head takes a map of one width, and 4 of {', '.join(map(str, self.widths))} come out of the Twins")

    def forward(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...]:
        """`seen`, if given, collects the named intermediates. Raises EnvironmentFault for an image of which a stage would make no key."""
        seen = noted(seen)
        if not traced() and min(image.shape[-2:]) < self.least:
            raise EnvironmentFault(f"this Twins takes {self.least} x {self.least} pixels at least, found {image.shape[-1]} x {image.shape[-2]}")
        x, found = image, []
        for stage, blocks in enumerate(self.layers):
            x = seen[f"patch_embed{stage}"] = self.patch_embeds[stage](x)
            apart = self._apart(x)
            for index, block in enumerate(cast(nn.ModuleList, blocks)):
                x = seen[f"stage{stage}.block{index}"] = block(x, apart)
                if index == 0:
                    x = seen[f"positions{stage}"] = self.position_encodings[stage](x)
            if self.output_norms:
                x = self.norm_list[stage](x)
            x = seen[f"out{stage}"] = x.permute(0, 3, 1, 2)
            found.append(x)
        return tuple(found)

    def _apart(self, x: Tensor) -> Tensor | None:
        """The mask of a map's windows; None where nothing in them is apart."""
        if self.window is None:
            return None
        h, w = x.shape[1:3]
        if not traced() and not (h % self.window and w % self.window):
            return None
        return mask(h, w, self.window, x)

    def features(self, image: Tensor, layers: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """The maps of these stages, in this order; 0 is the first stage, -1 the last. Raises UsageError for one that there is not."""
        found = self.forward(image)
        if wrong := [layer for layer in layers if not -len(found) <= layer < len(found)]:
            raise UsageError(f"layer {wrong[0]}: the outputs of this Twins are those of its stages {', '.join(map(str, range(len(found))))}")
        return tuple(found[layer] for layer in layers)


def twins(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-5, resample: str | None = None) -> Twins:
    """An empty backbone of this geometry. It has no position embeddings that could be resampled.

    Raises ConversionError if its attention heads, or the side of an SVT's windows, are not known.
    """
    if geometry.heads is None:
        raise ConversionError("the number of attention heads of each stage is not known; no tensor shows it, and the result depends on it")
    if geometry.window is None and geometry.variant == SVT:
        raise ConversionError("the side of the windows is not known; no tensor shows it, and the result depends on it")
    sizes = ("widths", "depths", "heads", "window", "mlp_ratios", "reductions", "output_norms", "patch", "channels")
    return made(Twins, **{name: getattr(geometry, name) for name in sizes}, eps=eps)
