"""`torchvision`: torchvision's VisionTransformer (vit_b_16 and kin), with the names of files since 0.13. Older names are read too."""

from dataclasses import replace

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_LAYER = "encoder.layers.encoder_layer_{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")

TORCHVISION = Layout(
    name="torchvision",
    title="torchvision VisionTransformer",
    family=VIT,
    sections={
        "stem": (
            Rule("class_token", ("cls",), "1 1 d"),
            Rule("encoder.pos_embedding", ("pos.cls", "pos.grid"), "1 1+n d"),
            *affine("conv_proj", "patch", "d chan y x"),
        ),
        "encoder": (
            *affine(f"{_LAYER}.ln_1", "blocks.{i}.norm1", "d"),
            Rule(f"{_LAYER}.self_attention.in_proj_weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            Rule(f"{_LAYER}.self_attention.in_proj_bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),
            *affine(f"{_LAYER}.self_attention.out_proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_LAYER}.ln_2", "blocks.{i}.norm2", "d"),
        ),
        "MLP": (
            *affine(f"{_LAYER}.mlp.0", "blocks.{i}.fc1", "m d", "m"),
            *affine(f"{_LAYER}.mlp.3", "blocks.{i}.fc2", "d m"),
        ),
        "final norm": affine("encoder.ln", "norm", "d"),
        "pre_logits": affine("heads.pre_logits", "pre_logits", "r d", "r"),
        "classifier": affine("heads.head", "head", "classes r", "classes"),
    },
)
_OLDER = ((".mlp.0", ".mlp.linear_1"), (".mlp.3", ".mlp.linear_2"))
TORCHVISION = replace(TORCHVISION, spellings=(TORCHVISION.spelt(*_OLDER),))
