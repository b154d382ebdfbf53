"""The BEiT backbone (Bao et al., 2021), and MAE's with relative positions, number for number as MMSegmentation's models use them.

Source: mmseg 1.2.2 `mmseg/models/backbones/beit.py` and `mae.py`. Tokens are (b, n, d), the class token is the first. It is not among the features
that come out.
"""

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError, EnvironmentFault
from segzoo.layouts.beit.geometry import MAE, Geometry
from segzoo.models.made import made
from segzoo.models.mlp import mlp
from segzoo.models.seen import Seen
from segzoo.models.traced import traced
from segzoo.models.vit.network import PatchEmbedding, from_first


class RelativeAttention(nn.Module):
    """Multi-head self-attention of the tokens of an image of `window` x `window`, with a bias for each pair of relative positions.

    The keys have a bias only if those of queries, keys and values are `joined`.
    """

    def __init__(self, width: int, heads: int, window: int, joined: bool):
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2 + 3, heads))
        self.qkv = nn.Linear(width, 3 * width, bias=joined)
        if not joined:
            self.q_bias = nn.Parameter(torch.empty(width))
            self.v_bias = nn.Parameter(torch.empty(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, space: Tensor | None = None) -> Tensor:
        """`space` (heads, n, n) is memory that may be written: new memory of this size takes longer than what is written there."""
        b, n, d = x.shape
        bias = self.qkv.bias if self.qkv.bias is not None else torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k.flip(2), v.flip(2), self.backwards(space)[None])
        return self.proj(x.transpose(1, 2).reshape(b, n, d))

    def backwards(self, space: Tensor | None = None) -> Tensor:
        """The table's bias for each token and each other one, the others in backward order: (heads, n, n), in `space` if it is given.

        In this order what the tokens of the grid need lies in the table as a sliding window: each number is copied once, and no index of all
        pairs is needed, which would be 20 MB at 640 pixels. An attention does not depend on the order of keys and values.
        """
        table, side = self.relative_position_bias_table.T, self.window
        grid = table[:, :-3].reshape(-1, 2 * side - 1, 2 * side - 1)
        bias = table.new_empty(self.heads, side**2 + 1, side**2 + 1) if space is None else space
        pairs = bias[:, 1:, :-1].unflatten(2, (side, side)).unflatten(1, (side, side))  # (heads, row, column, other row, other column)
        pairs.copy_(grid.unfold(1, side, 1).unfold(2, side, 1))
        bias[:, 0] = table[:, -3, None]
        bias[:, :, -1] = table[:, -2, None]
        bias[:, 0, -1] = table[:, -1]
        return bias


class ScaledBlock(nn.Module):
    """Pre-norm transformer block, each half of it multiplied channel by channel (LayerScale). The nesting of names (`ffn.layers.0.0`) is mmcv's."""

    def __init__(self, width: int, heads: int, mlp: int, window: int, joined: bool, eps: float):
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps)
        self.attn = RelativeAttention(width, heads, window, joined)
        self.gamma_1 = nn.Parameter(torch.empty(width))
        self.ln2 = nn.LayerNorm(width, eps)
        self.ffn = nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(width, mlp)), nn.Linear(mlp, width)])})
        self.gamma_2 = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor, space: Tensor | None = None) -> Tensor:
        x = x + self.gamma_1 * self.attn(self.ln1(x), space)
        expand, contract = cast(nn.ModuleList, self.ffn["layers"])
        return x + self.gamma_2 * mlp(self.ln2(x), expand, contract)


class Beit(nn.Module):
    """Image (b, channels, H, W), normalised, to features (b, d, H/p, W/p). H and W are `window` x `patch`, and nothing else.

    With `out_indices` the features are a tuple: the outputs of these blocks. Those of a `final_norm` are the last block's. `absolute` is
    whether tokens have absolute positions too; then the keys have a bias, as in MAE.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        mlp: int,
        patch: int,
        window: int,
        absolute: bool = False,
        channels: int = 3,
        final_norm: bool = False,
        out_indices: Sequence[int] | None = None,
        eps: float = 1e-6,
    ):
        super().__init__()
        self.width, self.heads, self.stride, self.channels, self.window = width, heads, patch, channels, window
        self.only = window * patch  # pixels: the side of the images that it takes
        self.out_indices, self.widths = out_indices, [width] * len(out_indices or (-1,))
        self.patch_embed = PatchEmbedding(width, patch, channels)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        if absolute:
            self.pos_embed = nn.Parameter(torch.empty(1, window**2 + 1, width))
        self.absolute = absolute
        self.layers = nn.ModuleList(ScaledBlock(width, heads, mlp, window, absolute, eps) for _ in range(depth))
        if final_norm:
            self.ln1 = nn.LayerNorm(width, eps)
        self.final_norm = final_norm

    def forward(self, image: Tensor, seen: Seen | None = None) -> Any:
        """`seen`, if given, collects the named intermediates. Raises EnvironmentFault for an image of another size."""
        if self.out_indices is None:
            return self._outputs(image, [len(self.layers) - 1], seen)[0]
        return tuple(self._outputs(image, self.out_indices, seen))

    def features(self, image: Tensor, layers: Sequence[int] = (2, 5, 8, 11)) -> tuple[Tensor, ...]:
        """The grids (b, d, H/p, W/p) after these blocks, in this order; 0 is the first block, -1 the last. Raises UsageError for a block
        that there is not.
        """
        return tuple(self._outputs(image, from_first(layers, len(self.layers)), None))

    def _outputs(self, image: Tensor, layers: Sequence[int], seen: Seen | None) -> list[Tensor]:
        """The grids after these blocks, and after the final norm for the last one. Others are kept only for `seen`."""
        if not traced() and image.shape[-2:] != (self.only, self.only):
            found = f"{image.shape[-1]} x {image.shape[-2]}"
            raise EnvironmentFault(
                f"this BEiT takes images, or windows of them, of {self.only} x {self.only} pixels only, found {found}: "
                f"a protocol for it resizes images to a short side of {self.only} or more, and has windows of {self.only}"
            )
        kept: dict[int, Tensor] = {}
        x = self.patch_embed(image).flatten(2).transpose(1, 2)
        said = {"patch_embed": x}
        x = torch.cat([self.cls_token.expand(image.shape[0], -1, -1), x], 1)  # a tracer makes a constant of len(image)
        if self.absolute:
            x = x + self.pos_embed
        said["tokens"] = x
        anew = traced() or torch.is_grad_enabled()
        space = None if anew else x.new_empty(self.heads, x.shape[1], x.shape[1])
        for index, block in enumerate(self.layers):
            x = block(x, space)
            if seen is not None:
                said[f"block{index}"] = x
            if index == len(self.layers) - 1 and self.final_norm:
                x = said["final_norm"] = self.ln1(x)
            if index in layers:
                kept[index] = x[:, 1:].transpose(1, 2).unflatten(2, (self.window, self.window))
        if seen is not None:
            seen |= said
        return [kept[layer] for layer in layers]


def beit(geometry: Geometry, tensors: Collection[str], *, eps: float = 1e-6, resample: str | None = None) -> Beit:
    """An empty backbone of this geometry. Its positions are never resampled. Raises ConversionError if its attention heads are not known."""
    if geometry.heads is None:
        raise ConversionError("the number of attention heads is not known; it decides the result and shows in no tensor")
    sizes = ("width", "depth", "heads", "mlp", "patch", "window", "channels", "final_norm", "out_indices")
    return made(Beit, **{name: getattr(geometry, name) for name in sizes}, absolute=geometry.variant == MAE, eps=eps)
