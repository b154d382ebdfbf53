"""`hf`: files of transformers' ViTModel and ViTForImageClassification (names on disk; 5.x renames in memory only).

The pooler is the pre-logits layer of the older ImageNet-21k files. The classifier does not take its input from the pooler.
"""

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_LAYER = "{p}encoder.layer.{i}"

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
            *affine(f"{_LAYER}.attention.attention.query", "blocks.{i}.q", "e d", "e"),
            *affine(f"{_LAYER}.attention.attention.key", "blocks.{i}.k", "e d", "e"),
            *affine(f"{_LAYER}.attention.attention.value", "blocks.{i}.v", "e d", "e"),
            *affine(f"{_LAYER}.attention.output.dense", "blocks.{i}.proj", "d e"),
            *affine(f"{_LAYER}.layernorm_after", "blocks.{i}.norm2", "d"),
            *affine(f"{_LAYER}.intermediate.dense", "blocks.{i}.fc1", "m d", "m"),
            *affine(f"{_LAYER}.output.dense", "blocks.{i}.fc2", "d m"),
            *affine("{p}layernorm", "norm", "d"),
        ),
        "pre_logits": affine("{p}pooler.dense", "pre_logits", "r d", "r"),
        "classifier": affine("classifier", "head", "classes r", "classes"),
    },
    excludes={"classifier": "pre_logits"},
)
