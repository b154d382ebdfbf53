"""`timm`: the state dict of timm's VisionTransformer and its hybrids (checked against timm 1.0.31).

`pos_embed` may or may not have entries for the class token and the registers: with `no_embed_class=True`, or without these tokens, it has none.
With `norm_pre`, as CLIP has, the patch embedding has no bias. A gated MLP (SwiGLU) has the names of a plain one, and a first matrix twice
as high as the second is wide; `fc1_g` and `fc1_x` in models that have the two apart.
"""

from dataclasses import replace

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT, WITHOUT_NORM
from segzoo.layouts.vit.parts import packed, stems

_BLOCK = "{p}blocks.{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")
_RESNET = "{p}patch_embed.backbone"
_UNIT = f"{_RESNET}.stages.{{g}}.blocks.{{u}}"
_DOWN = f"{_RESNET}.stages.{{g}}.blocks.0.downsample"
_CLS = Rule("{p}cls_token", ("cls",), "1 1 d")
_PATCH, _PATCH_BIAS = affine("{p}patch_embed.proj", "patch", "d chan y x")
_OUT = affine(f"{_BLOCK}.mlp.fc2", "blocks.{i}.fc2", "d m")


def _normed(conv: str, norm: str, holds: str, axes: str, width: str) -> tuple[Rule, ...]:
    """A convolution without bias and the group norm after it."""
    return (Rule(f"{conv}.weight", (f"{holds}.conv.weight",), axes), *affine(norm, f"{holds}.norm", width, width))


TIMM = Layout(
    name="timm",
    title="timm VisionTransformer and its hybrids",
    family=VIT,
    suffix=".safetensors",
    sections={
        "residual root": _normed(f"{_RESNET}.conv", f"{_RESNET}.norm", "root", "root rgb rooty rootx", "root"),
        "residual network": (
            *_normed(f"{_RESNET}.stem.conv", f"{_RESNET}.stem.norm", "root", "root rgb rooty rootx", "root"),
            *_normed(f"{_UNIT}.conv1", f"{_UNIT}.norm1", "stages.{g}.{u}.1", "one{g} in{g}u{u} 1 1", "one{g}"),
            *_normed(f"{_UNIT}.conv2", f"{_UNIT}.norm2", "stages.{g}.{u}.2", "two{g} one{g} convy convx", "two{g}"),
            *_normed(f"{_UNIT}.conv3", f"{_UNIT}.norm3", "stages.{g}.{u}.3", "out{g} two{g} 1 1", "out{g}"),
            *_normed(f"{_DOWN}.conv", f"{_DOWN}.norm", "stages.{g}.proj", "out{g} in{g}u0 1 1", "out{g}"),
        ),
        **stems("{p}pos_embed", _CLS, Rule("{p}dist_token", ("dist",), "1 1 d"), Rule("{p}reg_token", ("reg",), "1 reg d"), (_PATCH,)),
        "patch bias": (_PATCH_BIAS,),
        "encoder": (
            *affine(f"{_BLOCK}.norm1", "blocks.{i}.norm1", "d"),
            Rule(f"{_BLOCK}.attn.qkv.weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            *affine(f"{_BLOCK}.attn.proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_BLOCK}.norm2", "blocks.{i}.norm2", "d"),
        ),
        "MLP": (*affine(f"{_BLOCK}.mlp.fc1", "blocks.{i}.fc1", "m d", "m"), *_OUT),
        "gated MLP": (*packed(f"{_BLOCK}.mlp.fc1"), *_OUT),
        "layer scale": (Rule(f"{_BLOCK}.ls1.gamma", ("blocks.{i}.ls1",), "d"), Rule(f"{_BLOCK}.ls2.gamma", ("blocks.{i}.ls2",), "d")),
        "norms of queries and keys": (
            *affine(f"{_BLOCK}.attn.q_norm", "blocks.{i}.q_norm", "k", "k"),
            *affine(f"{_BLOCK}.attn.k_norm", "blocks.{i}.k_norm", "k", "k"),
        ),
        "norm before the blocks": affine("{p}norm_pre", "norm_pre", "d"),
        "final norm": affine("{p}norm", "norm", "d"),
        "pooled norm": affine("{p}fc_norm", "fc_norm", "d"),
        WITHOUT_NORM: (),
        "qkv bias": (Rule(f"{_BLOCK}.attn.qkv.bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),),
        "pooling head": (
            Rule("{p}attn_pool.latent", ("pool.probe",), "1 1 d"),
            *affine("{p}attn_pool.q", "pool.q", "e d", "e"),
            Rule("{p}attn_pool.kv.weight", ("pool.k.weight", "pool.v.weight"), "(s e) d -> s e d"),
            Rule("{p}attn_pool.kv.bias", ("pool.k.bias", "pool.v.bias"), "(s e) -> s e"),
            *affine("{p}attn_pool.proj", "pool.proj", "d e"),
            *affine("{p}attn_pool.norm", "pool.norm", "d"),
            *affine("{p}attn_pool.mlp.fc1", "pool.fc1", "pm d", "pm"),
            *affine("{p}attn_pool.mlp.fc2", "pool.fc2", "d pm"),
        ),
        "classifier": affine("{p}head", "head", "classes r", "classes"),
        "distillation classifier": affine("{p}head_dist", "head_dist", "classes r", "classes"),
    },
    optional=frozenset({"qkv bias"}),
    unless={"patch bias": "norm before the blocks"},
    reasons={
        "pre_logits": "timm 1.x has no pre-logits layer",
        "MLA neck": "timm has no MLA neck; MMSegmentation's SETR-MLA cuts the class token off before the first block, and timm's model does not",
    },
)
# as in BEiT: no bias of the keys, which no forward pass would notice
_APART = (Rule(f"{_BLOCK}.attn.q_bias", ("blocks.{i}.q.bias",), "e"), Rule(f"{_BLOCK}.attn.v_bias", ("blocks.{i}.v.bias",), "e"))
_GATE = (*affine(f"{_BLOCK}.mlp.fc1_g", "blocks.{i}.gate", "m d", "m"), *affine(f"{_BLOCK}.mlp.fc1_x", "blocks.{i}.fc1", "m d", "m"), *_OUT)
TIMM = replace(
    TIMM,
    spellings=(replace(TIMM, sections={**TIMM.sections, "qkv bias": _APART}), replace(TIMM, sections={**TIMM.sections, "gated MLP": _GATE})),
)
