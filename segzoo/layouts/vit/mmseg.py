"""`mmseg`: MMSegmentation's VisionTransformer backbone, and whole models on it, such as Segmenter and UPerNet (mmseg 1.2.2).

A file from `vitjax2mmseg.py` holds the backbone without a prefix. A trained model holds the backbone
under `backbone.`, the neck under `neck.` and the head under `decode_head.`.
"""

from dataclasses import replace

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import APART, VIT, WITHOUT_NORM
from segzoo.layouts.vit.parts import stems


def block(key: str, holds: str, width: str, inner: str, mlp: str) -> tuple[Rule, ...]:
    """The rules of a TransformerEncoderLayer without the biases of attention: pre-norm attention, then the feed-forward network."""
    return (*attention(key, holds, width, inner), *feed_forward(key, holds, width, mlp))


def attention(key: str, holds: str, width: str, inner: str) -> tuple[Rule, ...]:
    """The rules of a TransformerEncoderLayer's norms and of its attention, without the biases of attention."""
    return (
        *affine(f"{key}.ln1", f"{holds}.norm1", width, width),
        Rule(f"{key}.attn.attn.in_proj_weight", tuple(f"{holds}.{part}.weight" for part in "qkv"), f"(s {inner}) {width} -> s {inner} {width}"),
        Rule(f"{key}.attn.attn.out_proj.weight", (f"{holds}.proj.weight",), f"{width} {inner}"),
        *affine(f"{key}.ln2", f"{holds}.norm2", width, width),
    )


def feed_forward(key: str, holds: str, width: str, mlp: str) -> tuple[Rule, ...]:
    """The rules of a TransformerEncoderLayer's feed-forward network."""
    return (
        *affine(f"{key}.ffn.layers.0.0", f"{holds}.fc1", f"{mlp} {width}", mlp),
        *affine(f"{key}.ffn.layers.1", f"{holds}.fc2", f"{width} {mlp}", width),
    )


def attention_bias(key: str, holds: str, width: str, inner: str) -> tuple[Rule, ...]:
    """The biases of attention in a TransformerEncoderLayer. `qkv_bias=False` leaves out both, since nn.MultiheadAttention has one switch."""
    return (
        Rule(f"{key}.attn.attn.in_proj_bias", tuple(f"{holds}.{part}.bias" for part in "qkv"), f"(s {inner}) -> s {inner}"),
        Rule(f"{key}.attn.attn.out_proj.bias", (f"{holds}.proj.bias",), width),
    )


MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation VisionTransformer, alone or in a model",
    family=VIT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "stem": (
            Rule("{p}patch_embed.projection.weight", ("patch.weight",), "d chan y x"),
            Rule("{p}pos_embed", ("pos.cls", "pos.grid"), "1 1+n d"),
            Rule("{p}cls_token", ("cls",), "1 1 d"),
        ),
        "patch bias": (Rule("{p}patch_embed.projection.bias", ("patch.bias",), "d"),),
        "encoder": attention("{p}layers.{i}", "blocks.{i}", "d", "e"),
        "MLP": feed_forward("{p}layers.{i}", "blocks.{i}", "d", "m"),
        "final norm": affine("{p}ln1", "norm", "d"),
        WITHOUT_NORM: (),
        "attention bias": attention_bias("{p}layers.{i}", "blocks.{i}", "d", "e"),
    },
    optional=frozenset({"patch bias", "attention bias"}),
    beside=(AUXILIARY,),
    reasons={
        "classifier": "MMSegmentation's backbone has no classifier",
        "pre_logits": "MMSegmentation's backbone has no pre-logits layer",
        "pooled norm": "it norms pooled features, behind the backbone",
    },
    remark="mmseg 1.2 needs patch_bias=True in the backbone's config, or it drops the patch bias",
)

_PATCH, _, _CLS = MMSEG.sections["stem"]
_BLOCK = "{p}layers.{i}"
_REG = Rule("{p}reg_token", ("reg",), "1 reg d")
# The names of segzoo's own torch network: these, and those of the variants that MMSegmentation has no place for.
OWN = replace(
    MMSEG,
    name="segzoo's model",
    optional=frozenset(),
    sections={
        **MMSEG.sections,
        **stems("{p}pos_embed", _CLS, Rule("{p}dist_token", ("dist",), "1 1 d"), _REG, (_PATCH,)),
        APART: (_REG,),
        "gated MLP": (*MMSEG.sections["MLP"], *affine(f"{_BLOCK}.ffn.gate", "blocks.{i}.gate", "m d", "m")),
        "layer scale": (Rule(f"{_BLOCK}.gamma_1", ("blocks.{i}.ls1",), "d"), Rule(f"{_BLOCK}.gamma_2", ("blocks.{i}.ls2",), "d")),
        "norms of queries and keys": (
            *affine(f"{_BLOCK}.attn.attn.q_norm", "blocks.{i}.q_norm", "k", "k"),
            *affine(f"{_BLOCK}.attn.attn.k_norm", "blocks.{i}.k_norm", "k", "k"),
        ),
        "norm before the blocks": affine("{p}norm_pre", "norm_pre", "d"),
    },
)
