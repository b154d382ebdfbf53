"""`mmpretrain`: MMPretrain's VisionTransformer, MAE's encoder included, with its classification head (mmpretrain 1.2.0; mmcls has the same names).

A file of a whole model has the backbone under `backbone.`. With `out_type="avg_featmap"` the norm behind the pooling is `ln2`. With `pre_norm` the
patch embedding has no bias.
"""

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT, WITHOUT_NORM
from segzoo.layouts.vit.parts import packed, stems

_BLOCK = "{p}layers.{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")
_CLS = Rule("{p}cls_token", ("cls",), "1 1 d")
_DIST = Rule("{p}dist_token", ("dist",), "1 1 d")
_PATCH, _PATCH_BIAS = affine("{p}patch_embed.projection", "patch", "d chan y x")
_STEMS = stems("{p}pos_embed", _CLS, _DIST, None, (_PATCH,))

MMPRETRAIN = Layout(
    name="mmpretrain",
    title="MMPretrain VisionTransformer",
    family=VIT,
    prefixes=("backbone.", ""),
    beside=(
        Beside(("neck.",), "neck", "rebuilds images in pre-training, no part of the encoder", prefix="backbone."),
        Beside(("backbone.mask_token",), "mask token", "used in pre-training only", prefix="backbone."),
    ),
    sections={
        **_STEMS,
        "patch bias": (_PATCH_BIAS,),
        "encoder": (
            *affine(f"{_BLOCK}.ln1", "blocks.{i}.norm1", "d"),
            Rule(f"{_BLOCK}.attn.qkv.weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            *affine(f"{_BLOCK}.attn.proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_BLOCK}.ln2", "blocks.{i}.norm2", "d"),
        ),
        "qkv bias": (Rule(f"{_BLOCK}.attn.qkv.bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),),
        "MLP": (*affine(f"{_BLOCK}.ffn.layers.0.0", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_BLOCK}.ffn.layers.1", "blocks.{i}.fc2", "d m")),
        "gated MLP": (*packed(f"{_BLOCK}.ffn.w12"), *affine(f"{_BLOCK}.ffn.w3", "blocks.{i}.fc2", "d m")),
        "layer scale": (
            Rule(f"{_BLOCK}.attn.gamma1.weight", ("blocks.{i}.ls1",), "d"),
            Rule(f"{_BLOCK}.ffn.gamma2.weight", ("blocks.{i}.ls2",), "d"),
        ),
        "norm before the blocks": affine("{p}pre_norm", "norm_pre", "d"),
        "final norm": affine("{p}ln1", "norm", "d"),
        WITHOUT_NORM: (),
        "pooled norm": affine("{p}ln2", "fc_norm", "d"),
        "pre_logits": affine("head.layers.pre_logits", "pre_logits", "r d", "r"),
        "classifier": affine("head.layers.head", "head", "classes r", "classes"),
        "distillation classifier": affine("head.layers.head_dist", "head_dist", "classes r", "classes"),
    },
    optional=frozenset({"qkv bias"}),
    unless={"patch bias": "norm before the blocks"},
)
