"""`hf`: transformers' BeitModel, BeitForImageClassification and BeitForSemanticSegmentation (names on disk; checked against 5.24).

A Data2VecVision is a BEiT under another prefix.

Older files have the index. Its eps is 1e-12 by default. Its segmentation model has a place for every tensor of MMSegmentation's, but takes the
outputs of other blocks: `out_indices` count what stands before each block, from 1, and the last block's output cannot be among them. So heads are
read, and not written.
"""

from dataclasses import replace

from segzoo.layouts.beit.blocks import encoder, index, pairs, scales, stem, tables, two_biases
from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.flax_names import in_flax
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Buffer, affine

_LAYER = "{p}encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention.attention"
_RELATIVE = f"{_ATTENTION}.relative_position_bias"

HF = Layout(
    name="hf",
    title="Hugging Face transformers Beit",
    family=BEIT,
    suffix=".safetensors",
    eps=1e-12,
    prefixes=("beit.", "", "data2vec_vision."),
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
    buffers=(Buffer(f"{_RELATIVE}.relative_position_index", index, pairs, written=False),),
    reasons=dict.fromkeys(("feature pyramid neck", "uper decoder"), "transformers' segmentation model cannot take the last block's output"),
)
HF = replace(HF, spellings=(replace(HF, heads="hf beit", beside=(replace(AUXILIARY, prefix="beit."),)), in_flax(HF)))
