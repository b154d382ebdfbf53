"""`hf`: transformers' SegformerModel, SegformerForImageClassification and SegformerForSemanticSegmentation.

The names are those on disk; 5.x renames in memory only (checked against 5.24). All norms have torch's eps, 1e-5, whatever a config says.
"""

from dataclasses import replace

from segzoo.layouts.heads.segformer import SEGFORMER
from segzoo.layouts.layout import Layout
from segzoo.layouts.mit.family import MIT, UNLIKE
from segzoo.layouts.mit.mmseg import MMSEG
from segzoo.layouts.mit.stages import encoder
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.twins.stages import STAGES, all_global, blocks

_BLOCKS = blocks("{p}encoder.block.%d.%s")
_PATCHES = "{p}encoder.patch_embeddings.%d.%s"
_ATTENTION = "attention.self"

HF = Layout(
    name="hf",
    title="Hugging Face transformers Segformer",
    family=MIT,
    suffix=".safetensors",
    eps=1e-5,
    prefixes=("segformer.", ""),
    decoder_prefix="segformer.",
    heads="hf",
    sections={
        "encoder": (
            *encoder(
                patches=[(_PATCHES % (stage, "proj"), _PATCHES % (stage, "layer_norm")) for stage, _ in STAGES],
                blocks=_BLOCKS,
                norms=("layer_norm_1", "layer_norm_2"),
                mlp=("mlp.dense1", "mlp.dwconv.dwconv", "mlp.dense2"),
            ),
            *all_global(
                _BLOCKS,
                [(f"{_ATTENTION}.{name}.%s", name[0]) for name in ("query", "key", "value")],
                "attention.output.dense",
                (f"{_ATTENTION}.sr", f"{_ATTENTION}.layer_norm"),
            ),
            *output_norms(*(f"{{p}}encoder.layer_norm.{stage}" for stage, _ in STAGES)),
        ),
        "classifier": affine("classifier", "head", "classes d3", "classes"),
    },
    unlike={SEGFORMER.section: UNLIKE},
)
# `segzoo export` writes such a model's backbone in mmseg's names, and its head in these.
HF = replace(HF, spellings=(replace(HF, sections=dict(MMSEG.sections), prefixes=("backbone.",), decoder_prefix="backbone."),))
