"""`mmseg`: MMSegmentation's BEiT and MAE backbones, and whole models on them (mmseg 1.2.2).

Its BEiT has biases of queries and values. Its MAE has one of queries, keys and values joined, and absolute positions.
"""

from dataclasses import replace

from segzoo.layouts.beit.blocks import encoder, index, joined_biases, positions, scales, stem, tables, two_biases
from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Buffer, affine

_LAYER = "{p}layers.{i}"

MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation BEiT or MAE, alone or in a model",
    family=BEIT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "stem": stem("{p}cls_token", "{p}patch_embed.projection"),
        "positions": positions("{p}pos_embed"),
        "encoder": encoder(_LAYER, norms=("ln1", "ln2"), qkv="attn.qkv", proj="attn.proj", mlp=("ffn.layers.0.0", "ffn.layers.1")),
        "qv bias": two_biases(f"{_LAYER}.attn.q_bias", f"{_LAYER}.attn.v_bias"),
        "qkv bias": joined_biases(f"{_LAYER}.attn.qkv.bias"),
        "relative positions": tables(f"{_LAYER}.attn.relative_position_bias_table"),
        "scales": scales(f"{_LAYER}.gamma_1", f"{_LAYER}.gamma_2"),
        "final norm": affine("{p}ln1", "norm", "d"),
    },
    buffers=(Buffer(f"{_LAYER}.attn.relative_position_index", index),),
    beside=(AUXILIARY,),
    reasons={
        "classifier": "MMSegmentation's backbone has no classifier",
        "pooled norm": "it is the classifier's, and MMSegmentation's backbone has no classifier",
    },
)
OWN = replace(MMSEG, name="segzoo's model", buffers=())
# what beit2mmseg.py makes of a classifier: it leaves the name of the final norm
MMSEG = replace(MMSEG, spellings=(replace(MMSEG, sections={**MMSEG.sections, "final norm": affine("{p}norm", "norm", "d")}),))
