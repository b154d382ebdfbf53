"""`timm`: timm's SwinTransformer since 0.9 (checked against 1.0.31): a merging stands at the head of the stage after it."""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import affine
from segzoo.layouts.swin.family import MASKS, SWIN
from segzoo.layouts.swin.stages import MERGES, blocks, encoder, indices

_BLOCKS = blocks("{p}layers.%d.blocks.%s")

TIMM = Layout(
    name="timm",
    title="timm SwinTransformer",
    family=SWIN,
    suffix=".safetensors",
    eps=1e-5,
    sections={
        "encoder": encoder(
            patch="{p}patch_embed.proj",
            patch_norm="{p}patch_embed.norm",
            blocks=_BLOCKS,
            merges=[f"{{p}}layers.{stage + 1}.downsample" for stage, _ in MERGES],
            norms=("norm1", "norm2"),
            table="attn.relative_position_bias_table",
            qkv="attn.qkv",
            proj="attn.proj",
            mlp=("mlp.fc1", "mlp.fc2"),
        ),
        "final norm": affine("{p}norm", "norm", "d3", "d3"),
        "classifier": affine("{p}head.fc", "head", "classes d3", "classes"),
    },
    buffers=indices(_BLOCKS, "attn.relative_position_index", written=False),
    beside=(MASKS,),
)
