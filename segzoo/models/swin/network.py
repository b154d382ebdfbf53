"""The Swin Transformer backbone, number for number as MMSegmentation's models use it.

Source: mmseg 1.2.2 `mmseg/models/backbones/swin.py`. Maps are (b, h, w, d). They are padded with zeros, right and bottom, to whole windows, after
the first norm of a block and before the shift. All windows of every second block are shifted, also where a map is one window: timm
and the classifiers of its authors do otherwise there.
"""

from collections.abc import Collection, Sequence
from threading import Lock
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, UsageError
from segzoo.layouts.swin.geometry import Geometry
from segzoo.models.made import made
from segzoo.models.mlp import mlp
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced

_KEPT = 64  # how many masks are remembered: images in one piece have nearly a size each, and four maps a size
_KEEPING = Lock()  # several threads may use one network
_APART = -100.0  # what mmseg adds to the attention of two tokens that only the shift made neighbours


def windows(x: Tensor, side: int) -> Tensor:
    """Maps (b, h, w, d) of whole windows to windows (b, windows, side x side, d)."""
    b, h, w, d = x.shape
    return x.view(b, h // side, side, w // side, side, d).transpose(2, 3).reshape(b, -1, side * side, d)


def joined(x: Tensor, side: int, h: int, w: int) -> Tensor:
    """Windows (b, windows, side x side, d) to maps (b, h, w, d)."""
    b, d = x.shape[0], x.shape[-1]
    return x.view(b, h // side, w // side, side, side, d).transpose(2, 3).reshape(b, h, w, d)


def mask(h: int, w: int, side: int, shift: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What is added to the attention of a shifted map's windows: (windows, 1, side x side, side x side).

    A shift brings rows and columns from the other end of the map into the last windows. They do not see the others there.
    """

    def parts(length: int) -> Tensor:
        places = torch.arange(length, device=device)
        return (places >= length - side).int() + (places >= length - shift).int()

    part = windows((3 * parts(h)[:, None] + parts(w)).view(1, h, w, 1), side)[0, :, :, 0]
    return ((part[:, None, :] != part[:, :, None]).to(dtype) * _APART)[:, None]


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a bias for each pair of relative positions."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, heads))
        self.register_buffer("relative_position_index", torch.empty(side**2, side**2, dtype=torch.int64))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """Windows (b, windows, n, d) to the same. `apart` is the mask of one image's windows."""
        b, count, n, d = x.shape
        q, k, v = self.qkv(x).view(b * count, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias()[None]
        if apart is not None:
            bias = (bias + apart).expand(b, -1, -1, -1, -1).flatten(0, 1)
        return self.proj(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).reshape(b, count, n, d))

    def bias(self) -> Tensor:
        """The table's bias for each pair of tokens, (heads, n, n)."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1).contiguous()


class Block(nn.Module):
    """Pre-norm transformer block on the windows of a map. The nesting of names (`attn.w_msa`, `ffn.layers.0.0`) is mmseg's."""

    def __init__(self, width: int, heads: int, side: int, mlp: int, shift: int, eps: float):
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = nn.ModuleDict({"w_msa": WindowAttention(width, heads, side)})
        self.norm2 = nn.LayerNorm(width, eps)
        self.ffn = nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(width, mlp)), nn.Linear(mlp, width)])})

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        x = x + self.attended(self.norm1(x), apart)
        expand, contract = cast(nn.ModuleList, self.ffn["layers"])
        return x + mlp(self.norm2(x), expand, contract)

    def attended(self, x: Tensor, apart: Tensor | None) -> Tensor:
        _, h, w, _ = x.shape
        x = F.pad(x, (0, 0, 0, -w % self.side, 0, -h % self.side))
        padded = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = joined(self.attn["w_msa"](windows(x, self.side), apart if self.shift else None), self.side, *padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :h, :w]


class Merging(nn.Module):
    """Joins each two by two tokens of a map to one of twice the width. An odd side is padded with zeros, right or bottom.

    The inputs lie as nn.Unfold gives them: the four neighbours of the first channel, then those of the second.
    """

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 5, 2, 4).flatten(3)
        return self.reduction(self.norm(x))


class PatchEmbedding(nn.Module):
    """Image (b, channels, H, W) to a map (b, h, w, d). A side that is no multiple of the patch is padded with zeros, right or bottom."""

    def __init__(self, width: int, patch: int, channels: int, eps: float):
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, patch, patch)
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % self.patch, 0, -height % self.patch))
        return self.norm(self.projection(image).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks, every second one on shifted windows. All but the last stage have a merging, which is not in `forward`."""

    def __init__(self, width: int, depth: int, heads: int, side: int, mlp: int, merging: bool, eps: float):
        super().__init__()
        self.side, self.shift = side, side // 2
        self.blocks = nn.ModuleList(Block(width, heads, side, mlp, self.shift * (index % 2), eps) for index in range(depth))
        if merging:
            self.downsample = Merging(width, eps)
        self._masks: dict[tuple[object, ...], Tensor] = {}

    def forward(self, x: Tensor, seen: Seen, name: str) -> Tensor:
        apart = self._mask(x) if len(self.blocks) > 1 else None
        for index, block in enumerate(self.blocks):
            x = seen[f"{name}.block{index}"] = block(x, apart)
        return x

    def _mask(self, x: Tensor) -> Tensor:
        """The mask of a map of this size. It is remembered, but not where the network is traced."""
        side = self.side
        h, w = (length + -length % side for length in x.shape[1:3])
        if traced():
            return mask(h, w, side, self.shift, x.device, x.dtype)
        key = (h, w, x.device, x.dtype)
        found = self._masks.get(key)
        if found is None:
            with torch.inference_mode(False):
                found = mask(h, w, side, self.shift, x.device, x.dtype)
            with _KEEPING:
                while len(self._masks) >= _KEPT:
                    del self._masks[next(iter(self._masks))]
                self._masks[key] = found
        return found


class SwinTransformer(nn.Module):
    """Image (b, channels, H, W), normalised, to a tuple of maps, the finest first: (b, d, H/p, W/p), and so on at half the size each, rounded up.

    Each map is the output of a stage after a norm of its own. Without `output_norms` there is one map alone, the last stage's after the
    final norm.
    """

    def __init__(
        self,
        *,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        patch: int = 4,
        mlp_ratio: int = 4,
        channels: int = 3,
        output_norms: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        stages = range(len(depths))
        widths = [width << stage for stage in stages]
        self.stride, self.channels = patch, channels
        self.coarsest = patch << len(depths) - 1  # pixels from one token of the last stage to the next
        self.outputs = list(stages) if output_norms else [len(depths) - 1]
        self.widths = [widths[stage] for stage in self.outputs]
        self.patch_embed = PatchEmbedding(width, patch, channels, eps)
        self.stages = nn.ModuleList(
            Stage(widths[stage], depths[stage], heads[stage], window, mlp_ratio * widths[stage], stage != stages[-1], eps) for stage in stages
        )
        for stage in self.outputs:
            self.add_module(f"norm{stage}", nn.LayerNorm(widths[stage], eps))

    @property
    def width(self) -> int:
        """Its one width. Raises ConversionError where there are several: a head of a plain ViT does not fit."""
        if len(self.widths) > 1:
            raise ConversionError(
                f"the head takes a map of one width, and {len(self.widths)} of {', '.join(map(str, self.widths))} come out of the Swin"
            )
        return self.widths[0]

    def maps(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...]:
        """The maps with a norm, (b, d, h, w) each. `seen`, if given, collects the named intermediates."""
        seen = noted(seen)
        x = seen["patch_embed"] = self.patch_embed(image)
        found = []
        for index, stage in enumerate(self.stages):
            x = stage(x, seen, f"stage{index}")
            if index in self.outputs:
                normed = seen[f"out{index}"] = getattr(self, f"norm{index}")(x)
                found.append(normed.permute(0, 3, 1, 2))
            if index + 1 < len(self.stages):
                x = seen[f"merged{index}"] = cast(Merging, stage.downsample)(x)
        return tuple(found)

    def forward(self, image: Tensor, seen: Seen | None = None) -> tuple[Tensor, ...] | Tensor:
        found = self.maps(image, seen)
        return found if len(found) > 1 else found[0]

    def features(self, image: Tensor, layers: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """The maps of these stages, in this order; 0 is the first stage, -1 the last.

        Raises UsageError for one without a norm, or that there is not.
        """
        count, found = len(self.stages), dict(zip(self.outputs, self.maps(image), strict=True))
        if wrong := [layer for layer in layers if not -count <= layer < count or layer % count not in found]:
            raise UsageError(f"layer {wrong[0]}: the outputs of this Swin are those of its stages {', '.join(map(str, found))}")
        return tuple(found[layer % count] for layer in layers)


def swin_transformer(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-5, resample: str | None = None) -> SwinTransformer:
    """An empty backbone of this geometry. It has no position embeddings that could be resampled."""
    sizes = ("width", "depths", "heads", "window", "patch", "mlp_ratio", "channels", "output_norms")
    return made(SwinTransformer, **{name: getattr(geometry, name) for name in sizes}, eps=eps)
