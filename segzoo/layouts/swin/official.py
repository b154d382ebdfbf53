"""`official`: Microsoft's Swin Transformer, as its classifiers and the backbones of its segmentation and detection programs name it.

timm before 0.9 had the same names. Sources: `models/swin_transformer.py` of microsoft/Swin-Transformer, and
`mmdet/models/backbones/swin_transformer.py` of SwinTransformer/Swin-Transformer-Object-Detection.
"""

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.swin.family import MASKS, SWIN
from segzoo.layouts.swin.stages import MERGES, STAGES, blocks, encoder, indices

_BLOCKS = blocks("{p}layers.%d.blocks.%s")

OFFICIAL = Layout(
    name="official",
    title="Microsoft Swin Transformer, alone or in a model",
    family=SWIN,
    eps=1e-5,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": encoder(
            patch="{p}patch_embed.proj",
            patch_norm="{p}patch_embed.norm",
            blocks=_BLOCKS,
            merges=[f"{{p}}layers.{stage}.downsample" for stage, _ in MERGES],
            norms=("norm1", "norm2"),
            table="attn.relative_position_bias_table",
            qkv="attn.qkv",
            proj="attn.proj",
            mlp=("mlp.fc1", "mlp.fc2"),
        ),
        "final norm": affine("{p}norm", "norm", "d3", "d3"),
        "output norms": output_norms(*(f"{{p}}norm{stage}" for stage, _ in STAGES)),
        "classifier": affine("{p}head", "head", "classes d3", "classes"),
    },
    buffers=indices(_BLOCKS, "attn.relative_position_index"),
    beside=(MASKS, AUXILIARY),
)
