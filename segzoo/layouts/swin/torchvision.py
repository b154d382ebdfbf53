"""`torchvision`: torchvision's SwinTransformer, swin_t, swin_s and swin_b (checked against 0.28)."""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import affine
from segzoo.layouts.swin.family import SWIN
from segzoo.layouts.swin.stages import MERGES, STAGES, encoder, indices

_BLOCKS = [f"features.{2 * stage + 1}.{{{letter}}}" for stage, letter in STAGES]

TORCHVISION = Layout(
    name="torchvision",
    title="torchvision SwinTransformer",
    family=SWIN,
    eps=1e-5,
    sections={
        "encoder": encoder(
            patch="features.0.0",
            patch_norm="features.0.2",
            blocks=_BLOCKS,
            merges=[f"features.{2 * stage + 2}" for stage, _ in MERGES],
            norms=("norm1", "norm2"),
            table="attn.relative_position_bias_table",
            qkv="attn.qkv",
            proj="attn.proj",
            mlp=("mlp.0", "mlp.3"),
        ),
        "final norm": affine("norm", "norm", "d3", "d3"),
        "classifier": affine("head", "head", "classes d3", "classes"),
    },
    buffers=indices(_BLOCKS, "attn.relative_position_index", flat=True),
)
