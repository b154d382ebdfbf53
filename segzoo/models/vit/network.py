"""The Vision Transformer backbone, number for number as MMSegmentation's Segmenter, UPerNet, SETR and DPT use it.

Source: mmseg 1.2.2 `mmseg/models/backbones/vit.py` with `patch_bias=True`, which all published
checkpoints have. Tokens are (b, n, d). The class token is the first. Two of rstrudel/segmenter's checkpoints have
DeiT's distillation token as the second. Register tokens come before those of the patches. These tokens are not among the features
that come out, but for DPT, whose head takes the class token beside each map.

LayerScale, SwiGLU, registers, norms of queries and keys and a norm before the blocks are those of timm 1.0.31
`timm/models/vision_transformer.py`. QuickGELU is x * sigmoid(1.702 x), as openai/CLIP has.
"""

from collections.abc import Collection, Sequence
from functools import partial
from itertools import compress
from threading import Lock
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, UsageError
from segzoo.layouts.vit.geometry import Geometry
from segzoo.models.made import made
from segzoo.models.mlp import gelu, mlp
from segzoo.models.seen import Seen
from segzoo.models.traced import traced

_KEPT = 64  # how many resized position tables are remembered
_KEEPING = Lock()  # several threads may use one network
_OPEN = {
    True: ("GELU or QuickGELU", "OpenAI's own CLIP has QuickGELU, most of open_clip's models GELU", "quick_gelu"),
    False: ("GELU or its tanh form", "transformers' SigLIPs have the tanh form, timm's models without a class token mostly GELU", "gelu_tanh"),
}
"""By whether there is a norm before the blocks: which activations such models have, who has which, and the word for the unusual one."""


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of `nn.MultiheadAttention`; with `norm_eps` queries and keys have norms of this eps."""

    def __init__(self, width: int, heads: int, norm_eps: float | None = None):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.normed = norm_eps is not None
        if norm_eps is not None:
            self.q_norm, self.k_norm = nn.LayerNorm(width // heads, norm_eps), nn.LayerNorm(width // heads, norm_eps)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


def activated(x: Tensor, activation: str) -> Tensor:
    """An activation of `layouts.vit.geometry.ACTIVATIONS`."""
    if activation == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return gelu(x, approximate="tanh") if activation == "gelu_tanh" else gelu(x)


class Block(nn.Module):
    """Pre-norm transformer block. The nesting of names (`attn.attn`, `ffn.layers.0.0`) is mmcv's.

    `twists` are words of `layouts.vit.geometry.TWISTS`. `activation` is one of `layouts.vit.geometry.ACTIVATIONS`.
    """

    def __init__(self, width: int, heads: int, mlp: int, eps: float, twists: Collection[str] = (), activation: str = "gelu"):
        super().__init__()
        self.scaled, self.gated = "LayerScale" in twists, "SwiGLU" in twists
        self.activation = activation
        self.ln1 = nn.LayerNorm(width, eps)
        self.attn = nn.ModuleDict({"attn": Attention(width, heads, eps if "norms of queries and keys" in twists else None)})
        self.ln2 = nn.LayerNorm(width, eps)
        self.ffn = nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(width, mlp)), nn.Linear(mlp, width)])})
        if self.gated:
            self.ffn["gate"] = nn.Linear(width, mlp)
        if self.scaled:
            self.gamma_1, self.gamma_2 = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.attn["attn"](self.ln1(x))
        x = x + (y * self.gamma_1 if self.scaled else y)
        expand, contract = cast(nn.ModuleList, self.ffn["layers"])
        y = self.ln2(x)
        if self.gated:
            y = contract(F.silu(self.ffn["gate"](y)) * expand(y))
        else:
            y = mlp(y, expand, contract, partial(activated, activation=self.activation))
        return x + (y * self.gamma_2 if self.scaled else y)


def from_first(layers: Sequence[int], depth: int) -> list[int]:
    """Blocks as counted from the first one, 0, where -1 means the last. Raises UsageError for a block that there is not."""
    if wrong := [layer for layer in layers if not -depth <= layer < depth]:
        raise UsageError(f"layer {wrong[0]}: there are {depth} blocks, 0 to {depth - 1}")
    return [layer % depth for layer in layers]


class PatchEmbedding(nn.Module):
    """Image to patch embeddings. A side that is no multiple of the patch is padded with zeros, right or bottom."""

    def __init__(self, width: int, patch: int, channels: int):
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return self.projection(F.pad(image, (0, -width % self.patch, 0, -height % self.patch)))


class VisionTransformer(nn.Module):
    """Image (b, channels, H, W), normalised, to features (b, d, H/p, W/p), rounded up.

    With `out_indices` the features are a tuple: the outputs of these blocks, as in mmseg's `out_indices`. Without a `final_norm` they are
    as the blocks give them. `grid` is rows and columns of the position table.
    Without a `class_token` that token gets its position and is cut off before the first block (mmseg's `with_cls_token=False`).
    With `class_outputs` each map comes in a pair with the class token (b, d) of the same block (mmseg's `output_cls_token`).
    `resample` is how position embeddings are resized to another grid: `bicubic` in MMSegmentation,
    `bilinear` in rstrudel/segmenter. `registers` counts register tokens. `twists` are words of `layouts.vit.geometry.TWISTS`.
    `activation` is one of `layouts.vit.geometry.ACTIVATIONS`.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        mlp: int,
        patch: int,
        grid: tuple[int, int],
        channels: int = 3,
        eps: float = 1e-6,
        distilled: bool = False,
        resample: str = "bicubic",
        final_norm: bool = True,
        out_indices: Sequence[int] | None = None,
        class_token: bool = True,
        class_outputs: bool = False,
        registers: int = 0,
        twists: Collection[str] = (),
        activation: str = "gelu",
    ):
        super().__init__()
        self.width, self.stride, self.grid, self.channels = width, patch, grid, channels
        self.resample = resample
        self.out_indices, self.widths = out_indices, [width] * len(out_indices or (-1,))
        classes = int("no class token" not in twists) + distilled
        self.prefix = classes + registers
        self.extra = self.prefix if "register positions" in twists else 0 if "no class position" in twists else classes
        self.class_token, self.class_outputs = class_token, class_outputs
        self.patch_embed = PatchEmbedding(width, patch, channels)
        if "no class token" not in twists:
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        if distilled:
            self.dist_token = nn.Parameter(torch.empty(1, 1, width))
        if registers:
            self.reg_token = nn.Parameter(torch.empty(1, registers, width))
        self.pos_embed = nn.Parameter(torch.empty(1, grid[0] * grid[1] + self.extra, width))
        if "norm before the blocks" in twists:
            self.norm_pre = nn.LayerNorm(width, eps)
        self.layers = nn.ModuleList(Block(width, heads, mlp, eps, twists, activation) for _ in range(depth))
        if final_norm:
            self.ln1 = nn.LayerNorm(width, eps)
        self.final_norm = final_norm
        self._resized: dict[tuple[object, ...], Tensor] = {}

    @property
    def carried(self) -> int:
        """How many tokens go through the blocks before those of the patches."""
        return self.prefix if self.class_token else 0

    def tokens(self, image: Tensor, seen: Seen | None = None) -> Tensor:
        """All tokens after the final norm, (b, n, d). `seen`, if given, collects the named intermediates."""
        return self._outputs(image, [len(self.layers) - 1], seen)[0]

    def forward(self, image: Tensor, seen: Seen | None = None) -> Any:
        if self.out_indices is None:
            return self._grid(self.tokens(image, seen), image)
        outputs = self._outputs(image, self.out_indices, seen)
        return tuple((self._grid(one, image), one[:, 0]) if self.class_outputs else self._grid(one, image) for one in outputs)

    def features(self, image: Tensor, layers: Sequence[int] = (2, 5, 8, 11), seen: Seen | None = None) -> tuple[Tensor, ...]:
        """The grids (b, d, H/p, W/p) after these blocks, in this order; 0 is the first block, -1 the last.

        The final norm is in the last block's grid only, as in mmseg's `out_indices`. Raises UsageError for a block that there is not.
        """
        return tuple(self._grid(one, image) for one in self._outputs(image, from_first(layers, len(self.layers)), seen))

    def _outputs(self, image: Tensor, layers: Sequence[int], seen: Seen | None) -> list[Tensor]:
        """All tokens after these blocks, (b, n, d) each, and after the final norm for the last one. Others are kept only for `seen`."""
        kept: dict[int, Tensor] = {}
        patches = self.patch_embed(image)
        x = patches.flatten(2).transpose(1, 2)
        said = {"patch_embed": x}
        x = self._placed(x, self.positions(*patches.shape[-2:]))[:, self.prefix - self.carried :]
        said["after_pos"] = x
        if hasattr(self, "norm_pre"):
            x = said["norm_pre"] = self.norm_pre(x)
        for index, block in enumerate(self.layers):
            x = block(x)
            if seen is not None:
                said[f"block{index}"] = x
            if index == len(self.layers) - 1 and self.final_norm:
                x = said["final_norm"] = self.ln1(x)
            if index in layers:
                kept[index] = x
        if seen is not None:
            seen |= said
        return [kept[layer] for layer in layers]

    def _placed(self, patches: Tensor, positions: Tensor) -> Tensor:
        """All tokens with their positions: class and distillation token, registers, patches. The table is for the first `extra` and the patches."""
        names = [name for name in ("cls_token", "dist_token", "reg_token") if hasattr(self, name)]
        first = [getattr(self, name).expand(patches.shape[0], -1, -1) for name in names]  # a tracer makes a constant of len(image)
        counts = [token.shape[1] for token in first]
        placed = [sum(counts[: place + 1]) <= self.extra for place in range(len(first))]
        x = torch.cat([*compress(first, placed), patches], 1) + positions
        if all(placed):
            return x
        return torch.cat([x[:, : self.extra], *compress(first, [not there for there in placed]), x[:, self.extra :]], 1)

    def _grid(self, tokens: Tensor, image: Tensor) -> Tensor:
        """Tokens (b, n, d) of an image as a grid (b, d, H/p, W/p), rounded up."""
        p = self.patch_embed.patch
        h, w = (image.shape[-2] + p - 1) // p, (image.shape[-1] + p - 1) // p  # not -(-H // p): ONNX rounds a division towards zero
        return tokens[:, self.carried :].transpose(1, 2).unflatten(2, (h, w))

    def positions(self, h: int, w: int) -> Tensor:
        """Position embeddings for a grid of h x w: as stored if the number of tokens fits, else resized.

        Like MMSegmentation, this looks at the number only: a grid of another shape with as many tokens keeps the stored table.
        A resized table is remembered by size, but not where gradients are wanted, where the network is traced, or where torch does not tell
        that the table has changed.
        """
        table = self.pos_embed
        if h * w + self.extra == table.shape[1]:
            return table
        if table.is_inference() or (torch.is_grad_enabled() and table.requires_grad) or traced():
            return self._resize(h, w)
        key = (h, w, table.device, table.dtype, table.data_ptr(), table._version)
        found = self._resized.get(key)
        if found is None:
            found = self._resize(h, w)
            with _KEEPING:
                while len(self._resized) >= _KEPT:  # windows need a few; images in one piece nearly one each
                    del self._resized[next(iter(self._resized))]
                self._resized[key] = found
        return found

    def _resize(self, h: int, w: int) -> Tensor:
        first, table = self.pos_embed[:, : self.extra], self.pos_embed[:, self.extra :]
        table = table.transpose(1, 2).unflatten(2, self.grid)
        exact = table.to(torch.promote_types(table.dtype, torch.float32))  # in half precision torch would round the interpolation weights too
        table = F.interpolate(exact, size=(h, w), mode=self.resample, align_corners=False).to(table.dtype)
        return torch.cat([first, table.flatten(2).transpose(1, 2)], 1)


def vision_transformer(
    geometry: Geometry,
    tensors: Collection[str],
    *,
    eps: float = 1e-6,
    resample: str = "bicubic",
    network: type[VisionTransformer] = VisionTransformer,
) -> VisionTransformer:
    """An empty backbone of this geometry, of the class `network`.

    Raises ConversionError if heads, the grid's rows or the activation are unknown, and if there is no class token where a head takes one.
    """
    if geometry.heads is None:
        raise ConversionError("the number of attention heads is not known; it decides the result and shows in no tensor")
    if geometry.grid is None:
        raise ConversionError(f"{geometry.positions} positions are no square grid, and how many rows there are is not known")
    takes_class_token = getattr(geometry.decoder, "takes_class_token", False)
    if takes_class_token and "no class token" in geometry.twists:
        raise ConversionError("its head takes the class token, and the backbone has none")
    if geometry.activation is None and geometry.activation_open:
        forms, which, other = _OPEN["norm before the blocks" in geometry.twists]
        raise ConversionError(
            f"its activation is {forms}, which no tensor shows and which decides the result",
            hint=f"{which}: a manifest says 'activation: {other}' or 'activation: gelu'",
        )
    sizes = {
        name: getattr(geometry, name)
        for name in ("width", "depth", "heads", "mlp", "patch", "grid", "channels", "final_norm", "out_indices", "registers")
    }
    sizes |= {"class_token": geometry.class_token is not False, "class_outputs": takes_class_token}
    sizes |= {"twists": list(geometry.twists), "activation": geometry.activation or "gelu"}
    return made(network, **sizes, eps=eps, distilled=any(name.endswith("dist_token") for name in tensors), resample=resample)
