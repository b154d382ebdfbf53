"""The BEiT of transformers, run on tensors in its own names: a second opinion on the torch network.

It looks its table up by an index of all pairs of tokens, as Microsoft's program and mmseg do.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BeitConfig, BeitModel

from segzoo.models.peer import filled, watch

_BESIDE = ("pooler.", "classifier.")  # what transformers' plain model without a pooler has not


def intermediates(tensors: Mapping[str, np.ndarray], image: np.ndarray, *, eps: float, dtype: type) -> dict[str, np.ndarray]:
    """The named intermediates for images (b, H, W, channels), normalised: patch_embed, tokens, blockN and final_norm, each (b, n, d).

    `tensors` has the names of layout `hf`.
    """
    held = {name.removeprefix("beit."): torch.from_numpy(np.array(array, dtype)) for name, array in tensors.items()}
    held = {name: one for name, one in held.items() if not name.startswith(_BESIDE)}
    model: Any = filled(BeitModel, _config(held, eps), held, add_pooling_layer=False).to(held["embeddings.cls_token"])
    seen: dict[str, Tensor] = {}
    watch(model.embeddings.patch_embeddings, "patch_embed", seen)
    watch(model.embeddings, "tokens", seen)
    for index, layer in enumerate(model.layers):
        watch(layer, f"block{index}", seen)
    if isinstance(model.layernorm, nn.LayerNorm):
        watch(model.layernorm, "final_norm", seen)
    with torch.inference_mode():
        model(torch.from_numpy(np.asarray(image, dtype)).permute(0, 3, 1, 2))
    return {name: one.numpy() for name, one in seen.items()}


def remarks(tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float) -> tuple[dict[str, float], str]:
    """Nothing to remark."""
    return {}, ""


def _config(held: Mapping[str, Tensor], eps: float) -> BeitConfig:
    """transformers' config for these tensors, by their own names and shapes."""
    width, channels, patch, _ = held["embeddings.patch_embeddings.projection.weight"].shape
    layer = "encoder.layer.0"
    rows, heads = held[f"{layer}.attention.attention.relative_position_bias.relative_position_bias_table"].shape
    return BeitConfig(
        hidden_size=width,
        num_hidden_layers=1 + max(int(name.split(".")[2]) for name in held if name.startswith("encoder.layer.")),
        num_attention_heads=heads,
        intermediate_size=held[f"{layer}.intermediate.dense.weight"].shape[0],
        layer_norm_eps=eps,
        image_size=(math.isqrt(rows - 3) + 1) // 2 * patch,
        patch_size=patch,
        num_channels=channels,
        use_relative_position_bias=True,
        layer_scale_init_value=0.1 if f"{layer}.lambda_1" in held else 0,
        use_mean_pooling="layernorm.weight" not in held,
    )
