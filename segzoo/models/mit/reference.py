"""The MiT of transformers, run on tensors in its own names: a second opinion on the torch network.

It computes what MMSegmentation and NVlabs compute, once its norms have their eps: it gives all of them torch's, 1e-5, whatever its config says.
"""

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerModel

from segzoo.models.peer import filled, watch


def intermediates(
    tensors: Mapping[str, np.ndarray], image: np.ndarray, *, eps: float, dtype: type, heads: tuple[int, ...], conv_eps: float | None
) -> dict[str, np.ndarray]:
    """The named intermediates for images (b, H, W, channels), normalised: patch_embedN and stageN.blockN (b, h, w, d), outN (b, d, h, w).

    `tensors` has the names of layout `hf`. `heads` has one number a stage. `conv_eps` is that of the norms after a convolution; None if it is `eps`.
    """
    held = {
        name.removeprefix("segformer."): torch.from_numpy(np.array(one, dtype)) for name, one in tensors.items() if not name.startswith("classifier.")
    }
    model = filled(SegformerModel, _sizes(held, heads), held).to(held["encoder.layer_norm.0.weight"])
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = conv_eps if conv_eps is not None and ("patch_embeddings" in name or "sequence_reduction" in name) else eps
    for index, stage in enumerate(model.stages):  # type: ignore[arg-type]
        watch(stage.patch_embeddings, f"patch_embed{index}", seen)
        watch(stage.layer_norm, f"out{index}", seen)
        for place, block in enumerate(stage.blocks):
            watch(block, f"stage{index}.block{place}", seen)
    with torch.inference_mode():
        model(torch.from_numpy(np.asarray(image, dtype)).permute(0, 3, 1, 2))
    return {name: one.numpy() for name, one in _as_maps(seen, image.shape[1:3]).items()}


def remarks(
    tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float, heads: tuple[int, ...], conv_eps: float | None
) -> tuple[dict[str, float], str]:
    """Nothing to remark."""
    return {}, ""


def _sizes(held: Mapping[str, Tensor], heads: tuple[int, ...]) -> SegformerConfig:
    """transformers' config for these tensors, by their own names and shapes. A stage has the strides of all published MiTs."""
    stages = range(len(heads))
    patches = [held[f"encoder.patch_embeddings.{stage}.proj.weight"].shape for stage in stages]
    reductions = [held.get(f"encoder.block.{stage}.0.attention.self.sr.weight") for stage in stages]
    blocks = {match[0] for name in held if (match := re.match(r"encoder\.block\.\d+\.\d+", name))}
    return SegformerConfig(
        num_channels=patches[0][1],
        hidden_sizes=[width for width, *_ in patches],
        depths=[sum(name.startswith(f"encoder.block.{stage}.") for name in blocks) for stage in stages],
        num_attention_heads=list(heads),
        patch_sizes=[side for *_, side in patches],
        sr_ratios=[1 if one is None else one.shape[-1] for one in reductions],
        mlp_ratios=[held[f"encoder.block.{stage}.0.mlp.dense1.weight"].shape[0] // patches[stage][0] for stage in stages],
    )


def _as_maps(seen: Mapping[str, Tensor], image: tuple[int, ...]) -> dict[str, Tensor]:
    """Tokens (b, n, d) as maps. The first stage's are a quarter as many a side as pixels, and each stage halves the sides, rounded up."""
    found = {}
    for name, tokens in seen.items():
        stage = int(re.sub(r"\D", "", name.split(".")[0]))
        maps = tokens.unflatten(1, [-(-side // (4 << stage)) for side in image])
        found[name] = maps.permute(0, 3, 1, 2) if name.startswith("out") else maps
    return found
