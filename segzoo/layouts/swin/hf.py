"""`hf`: transformers' SwinModel, SwinForImageClassification, SwinBackbone, and its UPerNet (names on disk; 5.x renames in memory only)."""

from segzoo.layouts.layout import AUXILIARY, Beside, Layout
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.swin.family import SWIN
from segzoo.layouts.swin.stages import MERGES, STAGES, blocks, encoder, indices

_BLOCKS = blocks("{p}encoder.layers.%d.blocks.%s")

HF = Layout(
    name="hf",
    title="Hugging Face transformers Swin, alone or in its UPerNet",
    family=SWIN,
    suffix=".safetensors",
    eps=1e-5,
    prefixes=("swin.", "", "backbone."),
    decoder_prefix="backbone.",
    heads="hf",
    sections={
        "encoder": encoder(
            patch="{p}embeddings.patch_embeddings.projection",
            patch_norm="{p}embeddings.norm",
            blocks=_BLOCKS,
            merges=[f"{{p}}encoder.layers.{stage}.downsample" for stage, _ in MERGES],
            norms=("layernorm_before", "layernorm_after"),
            table="attention.self.relative_position_bias_table",
            qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
            proj="attention.output.dense",
            mlp=("intermediate.dense", "output.dense"),
        ),
        "final norm": affine("{p}layernorm", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}hidden_states_norms.stage{stage + 1}" for stage, _ in STAGES)),
        "classifier": affine("classifier", "head", "classes d3", "classes"),
    },
    buffers=indices(_BLOCKS, "attention.self.relative_position_index", written=False),
    beside=(
        AUXILIARY,
        *(Beside((f"{one}swin.layernorm.",), "final norm", "its backbone has norms of its own", prefix=one) for one in ("backbone.", "")),
    ),
)
