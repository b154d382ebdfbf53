"""The MiT backbone of SegFormer (Xie et al., NeurIPS 2021), number for number as MMSegmentation's models use it.

Source: mmseg 1.2.2 `mmseg/models/backbones/mit.py`. Maps are (b, h, w, d).
"""

from collections.abc import Collection, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault, UsageError
from segzoo.layouts.mit.geometry import STRIDES, Geometry
from segzoo.models.made import made
from segzoo.models.mlp import gelu
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced
from segzoo.models.twins.network import GlobalAttention


class PatchEmbedding(nn.Module):
    """Map (b, channels, H, W) to a map (b, h, w, d): an overlapping convolution, then a norm."""

    def __init__(self, channels: int, width: int, patch: int, stride: int, eps: float):
        super().__init__()
        self.projection = nn.Conv2d(channels, width, patch, stride, patch // 2)
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class MixFFN(nn.Module):
    """An MLP with a 3 x 3 convolution of each channel alone between its layers. The zeros around a map tell it where a token is.

    Names and shapes are mmseg's, where the two layers are convolutions of side 1.
    """

    def __init__(self, width: int, mlp: int):
        super().__init__()
        within = nn.Conv2d(mlp, mlp, 3, padding=1, groups=mlp)
        self.layers = nn.ModuleList([nn.Conv2d(width, mlp, 1), within, nn.Identity(), nn.Identity(), nn.Conv2d(mlp, width, 1)])

    def forward(self, x: Tensor) -> Tensor:
        expand, within, _, _, contract = cast(Sequence[nn.Conv2d], self.layers)
        x = F.linear(x, expand.weight.flatten(1), expand.bias)
        x = within(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return F.linear(gelu(x), contract.weight.flatten(1), contract.bias)


class Block(nn.Module):
    """Pre-norm transformer block on a map. `conv_eps` is that of the norm of keys that are made of several tokens."""

    def __init__(self, width: int, heads: int, reduction: int, mlp: int, eps: float, conv_eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = GlobalAttention(width, heads, reduction, conv_eps)
        self.norm2 = nn.LayerNorm(width, eps)
        self.ffn = MixFFN(width, mlp)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class MixVisionTransformer(nn.Module):
    """Image (b, channels, H, W), normalised, to a tuple of maps, the finest first: (b, d, H/4, W/4), and so on at half the size each, rounded up.

    Each map is the output of a stage after a norm, which the next stage takes too. `conv_eps` is that of the norms after a convolution, where it is
    another than `eps`.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        mlp_ratio: int = 4,
        patches: Sequence[int] = (7, 3, 3, 3),
        reductions: Sequence[int] = (8, 4, 2, 1),
        channels: int = 3,
        eps: float = 1e-6,
        conv_eps: float | None = None,
        strides: Sequence[int] = (4, 2, 2, 2),
    ):
        super().__init__()
        self.stride, self.channels, self.widths = strides[0], channels, list(widths)
        self.coarsest = strides[0] << len(widths) - 1  # pixels from one token of the last stage to the next
        self.least = max((reduction - 1) * (strides[0] << stage) + 1 for stage, reduction in enumerate(reductions))  # pixels: fewer make no key
        self.pads = True  # sides that are no whole patches
        before, inner = [channels, *widths], eps if conv_eps is None else conv_eps
        self.layers = nn.ModuleList()
        for stage, (width, depth, number, reduction) in enumerate(zip(widths, depths, heads, reductions, strict=True)):
            embedding = PatchEmbedding(before[stage], width, patches[stage], strides[stage], inner)
            blocks = nn.ModuleList(Block(width, number, reduction, mlp_ratio * width, eps, inner) for _ in range(depth))
            self.layers.append(nn.ModuleList([embedding, blocks, nn.LayerNorm(width, eps)]))

    @property
    def width(self) -> int:
        """Raises ConversionError: it gives maps of several widths, and a head of a plain ViT does not fit."""
        raise ConversionError(f"the head takes a map of one width, and 4 of {', '.join(map(str, self.widths))} come out of the MiT")

    def forward(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...]:
        """`seen`, if given, collects the named intermediates. Raises EnvironmentFault for an image of which a stage would make no key."""
        seen = noted(seen)
        if not traced() and min(image.shape[-2:]) < self.least:
            raise EnvironmentFault(f"this MiT takes {self.least} x {self.least} pixels at least, found {image.shape[-1]} x {image.shape[-2]}")
        x, found = image, []
        for stage, parts in enumerate(self.layers):
            embedding, blocks, norm = cast(nn.ModuleList, parts)
            x = seen[f"patch_embed{stage}"] = embedding(x)
            for index, block in enumerate(cast(nn.ModuleList, blocks)):
                x = seen[f"stage{stage}.block{index}"] = block(x)
            x = seen[f"out{stage}"] = norm(x).permute(0, 3, 1, 2)
            found.append(x)
        return tuple(found)

    def features(self, image: Tensor, layers: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """The maps of these stages, in this order; 0 is the first stage, -1 the last. Raises UsageError for one that there is not."""
        found = self.forward(image)
        if wrong := [layer for layer in layers if not -len(found) <= layer < len(found)]:
            raise UsageError(f"layer {wrong[0]}: the outputs of this MiT are those of its stages {', '.join(map(str, range(len(found))))}")
        return tuple(found[layer] for layer in layers)


def mit(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-6, resample: str | None = None) -> MixVisionTransformer:
    """An empty backbone of this geometry. It has no position embeddings that could be resampled.

    Raises ConversionError if its attention heads are not known.
    """
    if geometry.heads is None:
        raise ConversionError("the number of attention heads of each stage is not known; no tensor shows it, and the result depends on it")
    sizes = ("widths", "depths", "heads", "mlp_ratio", "patches", "reductions", "channels", "conv_eps")
    return made(MixVisionTransformer, **{name: getattr(geometry, name) for name in sizes}, eps=eps, strides=STRIDES)
