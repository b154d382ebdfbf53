"""`timm`: the state dict of timm's VisionTransformer (checked against timm 1.0.31)."""

from segzoo.layouts.rule import Layout, Rule, affine

_BLOCK = "{p}blocks.{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")

TIMM = Layout(
    name="timm",
    title="timm VisionTransformer",
    sections={
        "stem": (
            Rule("{p}cls_token", ("cls",), "1 1 d"),
            Rule("{p}pos_embed", ("pos",), "1 n d"),
            *affine("{p}patch_embed.proj", "patch", "d rgb y x"),
        ),
        "encoder": (
            *affine(f"{_BLOCK}.norm1", "blocks.{i}.norm1", "d"),
            Rule(f"{_BLOCK}.attn.qkv.weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            Rule(f"{_BLOCK}.attn.qkv.bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),
            *affine(f"{_BLOCK}.attn.proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_BLOCK}.norm2", "blocks.{i}.norm2", "d"),
            *affine(f"{_BLOCK}.mlp.fc1", "blocks.{i}.fc1", "m d", "m"),
            *affine(f"{_BLOCK}.mlp.fc2", "blocks.{i}.fc2", "d m"),
            *affine("{p}norm", "norm", "d"),
        ),
        "classifier": affine("{p}head", "head", "classes r", "classes"),
    },
    reasons={"pre_logits": "timm 1.x has no pre-logits layer"},
)
