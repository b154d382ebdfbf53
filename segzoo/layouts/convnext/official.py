"""`official`: the ConvNeXt of its authors, as their classifiers and the backbones of their segmentation program name it.

Sources: `models/convnext.py` and `semantic_segmentation/backbone/convnext.py` of facebookresearch/ConvNeXt.
"""

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.stages import MERGES, STAGES, blocks, encoder
from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import affine, output_norms

OFFICIAL = Layout(
    name="official",
    title="facebookresearch ConvNeXt, alone or in a model",
    family=CONVNEXT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": encoder(
            stem=("{p}downsample_layers.0.0", "{p}downsample_layers.0.1"),
            blocks=blocks("{p}stages.%d.%s"),
            merges=[(f"{{p}}downsample_layers.{stage + 1}.0", f"{{p}}downsample_layers.{stage + 1}.1") for stage, _ in MERGES],
            conv="dwconv",
            norm="norm",
            mlp=("pwconv1", "pwconv2"),
            scale="gamma",
        ),
        "final norm": affine("{p}norm", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}norm{stage}" for stage, _ in STAGES)),
        "classifier": affine("{p}head", "head", "classes d3", "classes"),
    },
    beside=(AUXILIARY,),
)
