"""`timm`: timm's ConvNeXt (checked against 1.0.31)."""

from dataclasses import replace

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.stages import MERGES, blocks, encoder
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine


def _encoder(mlp_axes: str) -> tuple[Rule, ...]:
    return encoder(
        stem=("{p}stem.0", "{p}stem.1"),
        blocks=blocks("{p}stages.%d.blocks.%s"),
        merges=[(f"{{p}}stages.{stage + 1}.downsample.0", f"{{p}}stages.{stage + 1}.downsample.1") for stage, _ in MERGES],
        conv="conv_dw",
        norm="norm",
        mlp=("mlp.fc1", "mlp.fc2"),
        scale="gamma",
        mlp_axes=mlp_axes,
    )


TIMM = Layout(
    name="timm",
    title="timm ConvNeXt",
    family=CONVNEXT,
    suffix=".safetensors",
    sections={
        "encoder": _encoder("{} {}"),
        "final norm": affine("{p}head.norm", "norm", "d3", "d3"),
        "classifier": affine("{p}head.fc", "head", "classes d3", "classes"),
    },
)
# Its small models (conv_mlp) have matrices as convolutions of 1 x 1.
TIMM = replace(TIMM, spellings=(replace(TIMM, sections={**TIMM.sections, "encoder": _encoder("{} {} 1 1")}),))
