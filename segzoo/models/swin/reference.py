"""The Swin of transformers, run on tensors in its own names: a second opinion on the torch network.

Its backbone class pads before it shifts, and shifts maps of one window, as MMSegmentation does; its classifiers do not shift these. timm does
neither, so it is no reference.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from segzoo.models.peer import filled, watch

_BESIDE = ("hidden_states_norms.", "classifier.")  # what transformers' plain model has not
_SPARE = ("layernorm.",)  # what it has although nothing here uses it


def intermediates(tensors: Mapping[str, np.ndarray], image: np.ndarray, *, eps: float, dtype: type) -> dict[str, np.ndarray]:
    """The named intermediates for images (b, H, W, channels), normalised: patch_embed, stageN.blockN, mergedN, outN, each (b, h, w, d).

    `tensors` has the names of layout `hf`. transformers gives the layer norms of embeddings and mergings 1e-5 whatever its config says, so `eps`
    is set here.
    """
    held = {name.removeprefix("swin."): torch.from_numpy(np.array(array, dtype)) for name, array in tensors.items()}
    sizes = _sizes(held)
    own = {name: one for name, one in held.items() if not name.startswith(_BESIDE)}
    model = filled(SwinModel, sizes, own, _SPARE, add_pooling_layer=False).to(held["embeddings.norm.weight"])
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
    seen: dict[str, Tensor] = {}
    _watch(model, seen)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.asarray(image, dtype)).permute(0, 3, 1, 2)
        last = model(pixels, always_partition=True).last_hidden_state
    if "layernorm.weight" in held:
        seen[f"out{len(sizes.depths) - 1}"] = last
    for stage, depth in enumerate(sizes.depths):
        if (name := f"hidden_states_norms.stage{stage + 1}") + ".weight" in held:
            weight, bias = held[f"{name}.weight"], held[f"{name}.bias"]
            seen[f"out{stage}"] = F.layer_norm(seen[f"stage{stage}.block{depth - 1}"], weight.shape, weight, bias, eps)
    return {name: one.numpy() for name, one in _as_maps(seen, image.shape[1:3], sizes.patch_size).items()}


def remarks(tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float) -> tuple[dict[str, float], str]:
    """Nothing to remark."""
    return {}, ""


def _sizes(held: Mapping[str, Tensor]) -> SwinConfig:
    """transformers' config for these tensors, by their own names and shapes."""
    width, channels, patch, _ = held["embeddings.patch_embeddings.projection.weight"].shape
    block = re.compile(r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.")
    places = {(int(match[1]), int(match[2])) for name in held if (match := block.match(name))}
    depths = [sum(stage == one for one, _ in places) for stage in range(1 + max(stage for stage, _ in places))]
    tables = [held[f"encoder.layers.{stage}.blocks.0.attention.self.relative_position_bias_table"].shape for stage in range(len(depths))]
    return SwinConfig(
        embed_dim=width,
        depths=depths,
        num_heads=[heads for _, heads in tables],
        window_size=(math.isqrt(tables[0][0]) + 1) // 2,
        patch_size=patch,
        mlp_ratio=held["encoder.layers.0.blocks.0.intermediate.dense.weight"].shape[0] / width,
        num_channels=channels,
    )


def _watch(model: Any, seen: dict[str, Tensor]) -> None:
    """Have a model put its intermediates aside as it runs."""
    watch(model.embeddings, "patch_embed", seen)
    for stage, layer in enumerate(model.encoder.layers):
        for index, block in enumerate(layer.blocks):
            watch(block, f"stage{stage}.block{index}", seen)
        if layer.downsample is not None:
            watch(layer.downsample, f"merged{stage}", seen)


def _as_maps(seen: Mapping[str, Tensor], image: tuple[int, ...], patch: int) -> dict[str, Tensor]:
    """Tokens (b, n, d) as maps (b, h, w, d). Each stage halves the sides, rounded up; a merging's output has the size of the next."""

    def sides(name: str) -> list[int]:
        stage = 0 if name == "patch_embed" else int(re.sub(r"\D", "", name.split(".")[0])) + name.startswith("merged")
        return [-(-side // (patch << stage)) for side in image]

    return {name: one.unflatten(1, sides(name)) if one.dim() == 3 else one for name, one in seen.items()}
