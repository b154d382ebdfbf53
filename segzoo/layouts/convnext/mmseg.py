"""`mmseg`: MMPreTrain's ConvNeXt, which is the backbone of MMSegmentation's models too (mmseg 1.2.2, mmpretrain 1.2.0; mmcls before)."""

from dataclasses import replace

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.stages import MERGES, STAGES, blocks, encoder
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Rule, affine, output_norms


def _encoder(mlp_axes: str) -> tuple[Rule, ...]:
    return encoder(
        stem=("{p}downsample_layers.0.0", "{p}downsample_layers.0.1"),
        blocks=blocks("{p}stages.%d.%s"),
        merges=[(f"{{p}}downsample_layers.{stage + 1}.0", f"{{p}}downsample_layers.{stage + 1}.1") for stage, _ in MERGES],
        conv="depthwise_conv",
        norm="norm",
        mlp=("pointwise_conv1", "pointwise_conv2"),
        scale="gamma",
        mlp_axes=mlp_axes,
    )


MMSEG = Layout(
    name="mmseg",
    title="MMPreTrain ConvNeXt, alone or in a model of MMSegmentation",
    family=CONVNEXT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": _encoder("{} {}"),
        "final norm": affine("{p}norm3", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}norm{stage}" for stage, _ in STAGES)),
    },
    beside=(AUXILIARY,),
    reasons={"classifier": "MMSegmentation's backbone has no classifier"},
)
OWN = replace(MMSEG, name="segzoo's model")
# MMPreTrain's classifiers, and its models with linear_pw_conv=False.
_HEAD = affine("head.fc", "head", "classes d3", "classes")
_CONVOLUTIONS = {**MMSEG.sections, "encoder": _encoder("{} {} 1 1")}
MMSEG = replace(
    MMSEG,
    spellings=(
        replace(MMSEG, sections={**MMSEG.sections, "classifier": _HEAD}),
        replace(MMSEG, sections={**_CONVOLUTIONS, "classifier": _HEAD}),
    ),
)
