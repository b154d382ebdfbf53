"""MMSegmentation's UPerNets under transformers' names, without segzoo: the rules of transformers' own scripts, written anew.

Checked on the goldens with transformers 5.24.0: `UperNetForSemanticSegmentation` takes every tensor strictly and gives mmseg's own scores.
"""

import re

import numpy as np

HEADS = {r"\.conv_seg\.": ".classifier.", r"\.bn\.": ".batch_norm."}
BACKBONES = {
    "swin": {
        r"^backbone\.patch_embed\.projection": "backbone.embeddings.patch_embeddings.projection",
        r"^backbone\.patch_embed\.norm": "backbone.embeddings.norm",
        r"^backbone\.stages": "backbone.encoder.layers",
        r"\.norm1\.": ".layernorm_before.",
        r"\.norm2\.": ".layernorm_after.",
        r"\.attn\.w_msa\.proj\.": ".attention.output.dense.",
        r"\.attn\.w_msa\.": ".attention.self.",
        r"\.ffn\.layers\.0\.0\.": ".intermediate.dense.",
        r"\.ffn\.layers\.1\.": ".output.dense.",
    },
    "convnext": {
        r"^backbone\.downsample_layers\.0\.0\.": "backbone.embeddings.patch_embeddings.",
        r"^backbone\.downsample_layers\.0\.1\.": "backbone.embeddings.layernorm.",
        r"^backbone\.downsample_layers\.(\d)\.": r"backbone.encoder.stages.\1.downsampling_layer.",
        r"^backbone\.stages\.(\d)\.(\d+)\.": r"backbone.encoder.stages.\1.layers.\2.",
        r"\.depthwise_conv\.": ".dwconv.",
        r"\.pointwise_conv(\d)\.": r".pwconv\1.",
        r"(layers\.\d+)\.norm\.": r"\1.layernorm.",
        r"\.gamma$": ".layer_scale_parameter",
    },
}


def port(tensors, family):
    """The tensors of mmseg's UPerNet on a Swin or ConvNeXt under transformers' names."""
    made = {}
    for key, one in tensors.items():
        name = re.sub(r"^backbone\.norm(\d)\.", lambda match: f"backbone.hidden_states_norms.stage{int(match[1]) + 1}.", key)
        for pattern, to in (HEADS | BACKBONES[family]).items():
            name = re.sub(pattern, to, name)
        if ".qkv." in name:
            made |= {name.replace("qkv", part): third for part, third in zip(("query", "key", "value"), np.split(one, 3), strict=True)}
        elif family == "swin" and ".downsample." in name:  # mmseg merges channel by channel, transformers neighbour by neighbour
            merged = one.reshape(-1, one.shape[-1] // 4, 4).transpose(0, 2, 1)[:, [0, 2, 1, 3]]
            made[name] = merged.reshape(one.shape)
        else:
            made[name] = one
    return {name: np.array(one, order="C") for name, one in made.items()}
