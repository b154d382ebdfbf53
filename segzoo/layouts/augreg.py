"""`augreg`: the npz files of "How to train your ViT?" (google-research/vision_transformer, gs://vit_models/augreg).

Names are those of flax before linen; `pre_logits` is in the older ImageNet-21k files only.
"""

from segzoo.layouts.rule import Layout, Rule, affine

_BLOCK = "{p}Transformer/encoderblock_{i}"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"

AUGREG = Layout(
    name="augreg",
    title="ViT-AugReg / vit_jax npz",
    prefixes=("", "opt/target/"),
    sections={
        "stem": (
            *affine("{p}embedding", "patch", "y x rgb d -> d rgb y x", names="/kernel /bias"),
            Rule("{p}cls", ("cls",), "1 1 d"),
            Rule("{p}Transformer/posembed_input/pos_embedding", ("pos",), "1 n d"),
        ),
        "encoder": (
            *affine(f"{_BLOCK}/LayerNorm_0", "blocks.{i}.norm1", "d", names="/scale /bias"),
            *affine(f"{_ATTENTION}/query", "blocks.{i}.q", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/key", "blocks.{i}.k", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/value", "blocks.{i}.v", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/out", "blocks.{i}.proj", "h k d -> d (h k)", names="/kernel /bias"),
            *affine(f"{_BLOCK}/LayerNorm_2", "blocks.{i}.norm2", "d", names="/scale /bias"),
            *affine(f"{_BLOCK}/MlpBlock_3/Dense_0", "blocks.{i}.fc1", "d m -> m d", "m", names="/kernel /bias"),
            *affine(f"{_BLOCK}/MlpBlock_3/Dense_1", "blocks.{i}.fc2", "m d -> d m", names="/kernel /bias"),
            *affine("{p}Transformer/encoder_norm", "norm", "d", names="/scale /bias"),
        ),
        "pre_logits": affine("{p}pre_logits", "pre_logits", "d r -> r d", "r", names="/kernel /bias"),
        "classifier": affine("{p}head", "head", "r classes -> classes r", "classes", names="/kernel /bias"),
    },
)
