"""`mmseg`: MMSegmentation's BEiT and MAE backbones, and whole models on them (mmseg 1.2.2).

Its BEiT has biases of queries and values. Its MAE has one of queries, keys and values joined, and absolute positions.
"""

from dataclasses import replace

from segzoo.layouts.beit.blocks import encoder, index, joined_biases, pairs, positions, scales, stem, tables, two_biases
from segzoo.layouts.beit.family import BEIT, DECODER
from segzoo.layouts.layout import AUXILIARY, Beside, Layout
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
    buffers=(Buffer(f"{_LAYER}.attn.relative_position_index", index, pairs),),
    beside=(AUXILIARY,),
    reasons={
        "classifier": "MMSegmentation's backbone has no classifier",
        "pooled norm": "it is the classifier's, and MMSegmentation's backbone has no classifier",
    },
)
OWN = replace(MMSEG, name="segzoo's model", buffers=())
# What beit2mmseg.py makes of a file of BEiT's or MAE's authors: it leaves what MMSegmentation has no place for under its own names, writes the patch
# embedding under both, and adds to a MAE none of the relative positions and scales that MMSegmentation's MAE has.
MMSEG = replace(
    MMSEG,
    spellings=(
        replace(
            MMSEG,
            sections={
                **MMSEG.sections,
                "final norm": affine("{p}norm", "norm", "d"),
                "pooled norm": affine("{p}fc_norm", "pooled", "d"),
                "classifier": affine("{p}head", "head", "classes d", "classes"),
            },
            optional=frozenset({"relative positions", "scales"}),
            beside=(Beside(("patch_embed.proj.",), "patch embedding", "beit2mmseg.py wrote it under two names"), DECODER),
        ),
    ),
)
