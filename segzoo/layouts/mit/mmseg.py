"""`mmseg`: the MixVisionTransformer of MMSegmentation, and whole models on it (mmseg 1.2.2). Its MLPs are convolutions of side 1."""

from dataclasses import replace

from segzoo.layouts.heads.nvlabs import NVLABS
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.mit.family import MIT, UNLIKE
from segzoo.layouts.mit.stages import encoder
from segzoo.layouts.rule import output_norms
from segzoo.layouts.twins.stages import STAGES, all_global, blocks

_BLOCKS = blocks("{p}layers.%d.1.%s")

MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation MixVisionTransformer, alone or in a model",
    family=MIT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": (
            *encoder(
                patches=[(f"{{p}}layers.{stage}.0.projection", f"{{p}}layers.{stage}.0.norm") for stage, _ in STAGES],
                blocks=_BLOCKS,
                norms=("norm1", "norm2"),
                mlp=("ffn.layers.0", "ffn.layers.1", "ffn.layers.4"),
                matrix=" 1 1",
            ),
            *all_global(_BLOCKS, (("attn.attn.in_proj_%s", "qkv"),), "attn.attn.out_proj"),
            *output_norms(*(f"{{p}}layers.{stage}.2" for stage, _ in STAGES)),
        ),
    },
    beside=(AUXILIARY,),
    unlike={NVLABS.section: UNLIKE},
    reasons={"classifier": "MMSegmentation's backbone has no classifier"},
)
OWN = replace(MMSEG, name="segzoo's model", unlike={})  # it has a network for either head
