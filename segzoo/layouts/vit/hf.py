"""`hf`: files of transformers' ViTModel and ViTForImageClassification (names on disk; 5.x renames in memory only).

The pooler is the pre-logits layer of the older ImageNet-21k files. The classifier does not take its input from the pooler.
"""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_LAYER = "{p}encoder.layer.{i}"
_QKV = f"{_LAYER}.attention.attention"

HF = Layout(
    name="hf",
    title="Hugging Face transformers ViT",
    family=VIT,
    suffix=".safetensors",
    eps=1e-12,
    prefixes=("vit.", ""),
    sections={
        "stem": (
            Rule("{p}embeddings.cls_token", ("cls",), "1 1 d"),
            Rule("{p}embeddings.position_embeddings", ("pos.cls", "pos.grid"), "1 1+n d"),
            *affine("{p}embeddings.patch_embeddings.projection", "patch", "d chan y x"),
        ),
        "encoder": (
            *affine(f"{_LAYER}.layernorm_before", "blocks.{i}.norm1", "d"),
            *(Rule(f"{_QKV}.{name}.weight", (f"blocks.{{i}}.{name[0]}.weight",), "e d") for name in ("query", "key", "value")),
            *affine(f"{_LAYER}.attention.output.dense", "blocks.{i}.proj", "d e"),
            *affine(f"{_LAYER}.layernorm_after", "blocks.{i}.norm2", "d"),
            *affine(f"{_LAYER}.intermediate.dense", "blocks.{i}.fc1", "m d", "m"),
            *affine(f"{_LAYER}.output.dense", "blocks.{i}.fc2", "d m"),
        ),
        "final norm": affine("{p}layernorm", "norm", "d"),
        "qkv bias": tuple(Rule(f"{_QKV}.{name}.bias", (f"blocks.{{i}}.{name[0]}.bias",), "e") for name in ("query", "key", "value")),
        "pre_logits": affine("{p}pooler.dense", "pre_logits", "r d", "r"),
        "classifier": affine("classifier", "head", "classes r", "classes"),
    },
    optional=frozenset({"qkv bias"}),
    excludes={"classifier": "pre_logits"},
)
