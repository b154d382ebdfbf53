"""`torchvision`: torchvision's ConvNeXt, convnext_tiny to convnext_large (checked against 0.28)."""

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.stages import MERGES, STAGES, encoder
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import affine

TORCHVISION = Layout(
    name="torchvision",
    title="torchvision ConvNeXt",
    family=CONVNEXT,
    sections={
        "encoder": encoder(
            stem=("features.0.0", "features.0.1"),
            blocks=[f"features.{2 * stage + 1}.{{{letter}}}" for stage, letter in STAGES],
            merges=[(f"features.{2 * stage + 2}.0", f"features.{2 * stage + 2}.1") for stage, _ in MERGES],
            conv="block.0",
            norm="block.2",
            mlp=("block.3", "block.5"),
            scale="layer_scale",
            scale_axes="{d} 1 1",
        ),
        "final norm": affine("classifier.0", "norm", "d3", "d3"),
        "classifier": affine("classifier.2", "head", "classes d3", "classes"),
    },
)
