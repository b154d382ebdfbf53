"""The MLP of a transformer block: two linear layers with an activation between them."""

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.traced import only_computed

_HIDDEN = 2**20
"""About how many numbers between the layers are computed at once: few, so that they stay in the processor's cache, and in memory that it has."""
_TOKENS = 1024
"""Tokens, or places, that make a matrix product worth its start."""


def gelu(x: Tensor, **how: str) -> Tensor:
    """torch's GELU, by default the exact, erf form, of a tensor that nobody else has: where it is only computed, in its own memory."""
    return F.gelu(x, **how, **({"out": x} if only_computed() else {}))  # type: ignore[arg-type]


def mlp(x: Tensor, expand: nn.Module, contract: nn.Module, activated: Callable[[Tensor], Tensor] = gelu) -> Tensor:
    """Tokens (b, n, in), or places (b, h, w, in), through both layers: (b, ..., out). On a processor, large maps go some tokens at a time."""
    last = cast(nn.Linear, contract)
    some = max(_HIDDEN // last.in_features, _TOKENS)
    if x.device.type != "cpu" or not only_computed() or x[0].numel() < 2 * some * x.shape[-1]:
        return cast(Tensor, contract(activated(expand(x))))
    tokens = x.flatten(1, -2)
    found = tokens.new_empty(*tokens.shape[:-1], last.out_features)
    for image, whole in zip(tokens, found, strict=True):
        for part, into in zip(image.split(some), whole.split(some), strict=True):
            into.copy_(contract(activated(expand(part))))
    return found.view(*x.shape[:-1], -1)
