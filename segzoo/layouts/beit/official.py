"""`official`: Microsoft's BEiT, as its classifiers and the backbones of its segmentation program name it.

Source: `beit/modeling_finetune.py` and `beit/semantic_segmentation/backbone/beit.py` of microsoft/unilm. The latter has the pyramid in the backbone.
"""

from segzoo.layouts.beit.blocks import encoder, index, pairs, scales, stem, tables, two_biases
from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Buffer, affine

BLOCK = "{p}blocks.{i}"
INDEX = f"{BLOCK}.attn.relative_position_index"
SECTIONS = {
    "stem": stem("{p}cls_token", "{p}patch_embed.proj"),
    "encoder": encoder(BLOCK, norms=("norm1", "norm2"), qkv="attn.qkv", proj="attn.proj", mlp=("mlp.fc1", "mlp.fc2")),
    "qv bias": two_biases(f"{BLOCK}.attn.q_bias", f"{BLOCK}.attn.v_bias"),
    "relative positions": tables(f"{BLOCK}.attn.relative_position_bias_table"),
    "scales": scales(f"{BLOCK}.gamma_1", f"{BLOCK}.gamma_2"),
    "final norm": affine("{p}norm", "norm", "d"),
    "pooled norm": affine("{p}fc_norm", "pooled", "d"),
    "classifier": affine("{p}head", "head", "classes d", "classes"),
}

OFFICIAL = Layout(
    name="official",
    title="Microsoft BEiT, alone or in a model",
    family=BEIT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="unilm",
    sections=SECTIONS,
    optional=frozenset({"scales"}),
    buffers=(Buffer(INDEX, index, pairs),),
    beside=(AUXILIARY,),
)
