"""`hf`: transformers' ConvNextModel, ConvNextForImageClassification, ConvNextBackbone, and its UPerNet (checked against 5.24).

Its classifiers average before the final norm, whose eps is 1e-12 (`layer_norm_eps`); all other norms have 1e-6, whatever a config says.
"""

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.stages import MERGES, STAGES, blocks, encoder
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import affine, output_norms

_STAGE = "{p}encoder.stages.%d.downsampling_layer.%d"

HF = Layout(
    name="hf",
    title="Hugging Face transformers ConvNext, alone or in its UPerNet",
    family=CONVNEXT,
    suffix=".safetensors",
    prefixes=("convnext.", "", "backbone."),
    decoder_prefix="backbone.",
    heads="hf",
    sections={
        "encoder": encoder(
            stem=("{p}embeddings.patch_embeddings", "{p}embeddings.layernorm"),
            blocks=blocks("{p}encoder.stages.%d.layers.%s"),
            merges=[(_STAGE % (stage + 1, 0), _STAGE % (stage + 1, 1)) for stage, _ in MERGES],
            conv="dwconv",
            norm="layernorm",
            mlp=("pwconv1", "pwconv2"),
            scale="layer_scale_parameter",
        ),
        "final norm": affine("{p}layernorm", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}hidden_states_norms.stage{stage + 1}" for stage, _ in STAGES)),
        "classifier": affine("classifier", "head", "classes d3", "classes"),
    },
    beside=(AUXILIARY,),
)
