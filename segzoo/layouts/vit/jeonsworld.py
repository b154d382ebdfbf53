"""`jeonsworld`: the state dict of jeonsworld/ViT-pytorch, a port of vit_jax to torch (`models/modeling.py` at 0d00ad0, plain ViTs).

It has no pre-logits layer.
"""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_START = "{p}transformer.embeddings"
_LAYER = "{p}transformer.encoder.layer.{i}"

JEONSWORLD = Layout(
    name="jeonsworld",
    title="jeonsworld/ViT-pytorch",
    family=VIT,
    sections={
        "stem": (
            Rule(f"{_START}.cls_token", ("cls",), "1 1 d"),
            Rule(f"{_START}.position_embeddings", ("pos.cls", "pos.grid"), "1 1+n d"),
            *affine(f"{_START}.patch_embeddings", "patch", "d chan y x"),
        ),
        "encoder": (
            *affine(f"{_LAYER}.attention_norm", "blocks.{i}.norm1", "d"),
            *(rule for name in ("query", "key", "value") for rule in affine(f"{_LAYER}.attn.{name}", f"blocks.{{i}}.{name[0]}", "e d", "e")),
            *affine(f"{_LAYER}.attn.out", "blocks.{i}.proj", "d e"),
            *affine(f"{_LAYER}.ffn_norm", "blocks.{i}.norm2", "d"),
        ),
        "MLP": (*affine(f"{_LAYER}.ffn.fc1", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_LAYER}.ffn.fc2", "blocks.{i}.fc2", "d m")),
        "final norm": affine("{p}transformer.encoder.encoder_norm", "norm", "d"),
        "classifier": affine("{p}head", "head", "classes r", "classes"),
    },
    reasons={"pre_logits": "jeonsworld's ViT has no pre-logits layer"},
)
