"""`segmenter`: the official checkpoints of rstrudel/segmenter, encoder and decoder.

The files still hold the ImageNet classifier of the encoder, which is not used. The encoder of the DeiT
checkpoints has a distillation token. The rules of the decoder are in `layouts/heads`.
"""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_PATCH = affine("encoder.patch_embed.proj", "patch", "d chan y x")


def block(key: str, holds: str, width: str, inner: str, mlp: str) -> tuple[Rule, ...]:
    """The rules of a block: pre-norm attention, then the feed-forward network."""
    return (*attention(key, holds, width, inner), *feed_forward(key, holds, width, mlp))


def attention(key: str, holds: str, width: str, inner: str) -> tuple[Rule, ...]:
    """The rules of a block's norms and of its attention."""
    qkv = [f"{holds}.{part}" for part in "qkv"]
    return (
        *affine(f"{key}.norm1", f"{holds}.norm1", width, width),
        Rule(f"{key}.attn.qkv.weight", tuple(f"{q}.weight" for q in qkv), f"(s {inner}) {width} -> s {inner} {width}"),
        Rule(f"{key}.attn.qkv.bias", tuple(f"{q}.bias" for q in qkv), f"(s {inner}) -> s {inner}"),
        *affine(f"{key}.attn.proj", f"{holds}.proj", f"{width} {inner}", width),
        *affine(f"{key}.norm2", f"{holds}.norm2", width, width),
    )


def feed_forward(key: str, holds: str, width: str, mlp: str) -> tuple[Rule, ...]:
    """The rules of a block's feed-forward network."""
    return (
        *affine(f"{key}.mlp.fc1", f"{holds}.fc1", f"{mlp} {width}", mlp),
        *affine(f"{key}.mlp.fc2", f"{holds}.fc2", f"{width} {mlp}", width),
    )


SEGMENTER = Layout(
    name="segmenter",
    title="rstrudel/segmenter",
    family=VIT,
    eps=1e-5,
    heads="segmenter",
    sections={
        "stem": (
            Rule("encoder.cls_token", ("cls",), "1 1 d"),
            Rule("encoder.pos_embed", ("pos.cls", "pos.grid"), "1 1+n d"),
            *_PATCH,
        ),
        "distilled stem": (
            Rule("encoder.cls_token", ("cls",), "1 1 d"),
            Rule("encoder.dist_token", ("dist",), "1 1 d"),
            Rule("encoder.pos_embed", ("pos.cls", "pos.dist", "pos.grid"), "1 1+1+n d"),
            *_PATCH,
        ),
        "encoder": attention("encoder.blocks.{i}", "blocks.{i}", "d", "e"),
        "MLP": feed_forward("encoder.blocks.{i}", "blocks.{i}", "d", "m"),
        "final norm": affine("encoder.norm", "norm", "d"),
        "classifier": affine("encoder.head", "head", "classes r", "classes"),
        "distillation classifier": affine("encoder.head_dist", "head_dist", "classes r", "classes"),
    },
)
