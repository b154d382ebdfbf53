"""`hf`: transformers' BeitModel, BeitForImageClassification and BeitForSemanticSegmentation (names on disk; checked against 5.24).

Older files have the index. Its eps is 1e-12 by default.
"""

from dataclasses import replace

from segzoo.layouts.beit.blocks import encoder, index, scales, stem, tables, two_biases
from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Buffer, affine

_LAYER = "{p}encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention.attention"
_RELATIVE = f"{_ATTENTION}.relative_position_bias"

HF = Layout(
    name="hf",
    title="Hugging Face transformers Beit, alone or in its segmentation model",
    family=BEIT,
    suffix=".safetensors",
    eps=1e-12,
    prefixes=("beit.", ""),
    decoder_prefix="beit.",
    heads="hf beit",
    sections={
        "stem": stem("{p}embeddings.cls_token", "{p}embeddings.patch_embeddings.projection"),
        "encoder": encoder(
            _LAYER,
            norms=("layernorm_before", "layernorm_after"),
            qkv=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
            proj="attention.output.dense",
            mlp=("intermediate.dense", "output.dense"),
        ),
        "qv bias": two_biases(f"{_ATTENTION}.query.bias", f"{_ATTENTION}.value.bias"),
        "relative positions": tables(f"{_RELATIVE}.relative_position_bias_table"),
        "scales": scales(f"{_LAYER}.lambda_1", f"{_LAYER}.lambda_2"),
        "final norm": affine("{p}layernorm", "norm", "d"),
        "pooled norm": affine("{p}pooler.layernorm", "pooled", "d"),
        "classifier": affine("classifier", "head", "classes d", "classes"),
    },
    optional=frozenset({"scales"}),
    buffers=(Buffer(f"{_RELATIVE}.relative_position_index", index, written=False),),
    beside=(replace(AUXILIARY, prefix="beit."),),
)
