"""`mmseg`: the SwinTransformer of MMSegmentation, MMDetection and MMPreTrain, and whole models on it (mmseg 1.2.2, mmpretrain 1.2.0).

It joins the four neighbours of a merging as nn.Unfold does: channel by channel.
"""

from dataclasses import replace

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.swin.family import MASKS, SWIN
from segzoo.layouts.swin.stages import MERGES, STAGES, blocks, encoder, indices

_BLOCKS = blocks("{p}stages.%d.blocks.%s")

MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation SwinTransformer, alone or in a model",
    family=SWIN,
    eps=1e-5,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": encoder(
            patch="{p}patch_embed.projection",
            patch_norm="{p}patch_embed.norm",
            blocks=_BLOCKS,
            merges=[f"{{p}}stages.{stage}.downsample" for stage, _ in MERGES],
            norms=("norm1", "norm2"),
            table="attn.w_msa.relative_position_bias_table",
            qkv="attn.w_msa.qkv",
            proj="attn.w_msa.proj",
            mlp=("ffn.layers.0.0", "ffn.layers.1"),
            neighbours="d{} row col",
        ),
        "final norm": affine("{p}norm3", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}norm{stage}" for stage, _ in STAGES)),
    },
    buffers=indices(_BLOCKS, "attn.w_msa.relative_position_index"),
    beside=(MASKS, AUXILIARY),
    reasons={"classifier": "MMSegmentation's backbone has no classifier"},
)
OWN = replace(MMSEG, name="segzoo's model")
# MMPreTrain's classifiers, and what swin2mmseg.py makes of a classifier: it leaves the name of the final norm.
MMSEG = replace(
    MMSEG,
    spellings=(
        replace(MMSEG, sections={**MMSEG.sections, "classifier": affine("head.fc", "head", "classes d3", "classes")}),
        replace(MMSEG, sections={**MMSEG.sections, "final norm": affine("{p}norm", "norm", "d3", "d3")}),
    ),
)
