"""`augreg`: the npz files of "How to train your ViT?" (google-research/vision_transformer, gs://vit_models/augreg).

The names are those of flax before linen. Only the older ImageNet-21k files have `pre_logits`. The hybrids
(R+Ti/16, R26+S/32, R50+B/16, R50+L/32) have a ResNet-v2 before the patch embedding, or its root alone.
"""

from dataclasses import replace

from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_BLOCK = "{p}Transformer/encoderblock_{i}"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"
_UNIT = "{p}block{g+1}/unit{u+1}"
_FIRST = "{p}block{g+1}/unit1"


def _normed(conv: str, norm: str, holds: str, axes: str, width: str) -> tuple[Rule, ...]:
    """A convolution without bias and the group norm after it."""
    line = f"1 1 1 {width} -> {width}"
    return (Rule(f"{conv}/kernel", (f"{holds}.conv.weight",), axes), *affine(norm, f"{holds}.norm", line, line, "/scale /bias"))


_ROOT = _normed("{p}conv_root", "{p}gn_root", "root", "rooty rootx rgb root -> root rgb rooty rootx", "root")

AUGREG = Layout(
    name="augreg",
    title="ViT-AugReg / vit_jax npz",
    family=VIT,
    suffix=".npz",
    prefixes=("", "opt/target/"),
    sections={
        "residual root": _ROOT,
        "residual network": (
            *_ROOT,
            *_normed(f"{_UNIT}/conv1", f"{_UNIT}/gn1", "stages.{g}.{u}.1", "1 1 in{g}u{u} one{g} -> one{g} in{g}u{u} 1 1", "one{g}"),
            *_normed(f"{_UNIT}/conv2", f"{_UNIT}/gn2", "stages.{g}.{u}.2", "convy convx one{g} two{g} -> two{g} one{g} convy convx", "two{g}"),
            *_normed(f"{_UNIT}/conv3", f"{_UNIT}/gn3", "stages.{g}.{u}.3", "1 1 two{g} out{g} -> out{g} two{g} 1 1", "out{g}"),
            *_normed(f"{_FIRST}/conv_proj", f"{_FIRST}/gn_proj", "stages.{g}.proj", "1 1 in{g}u0 out{g} -> out{g} in{g}u0 1 1", "out{g}"),
        ),
        "stem": (
            *affine("{p}embedding", "patch", "y x chan d -> d chan y x", names="/kernel /bias"),
            Rule("{p}cls", ("cls",), "1 1 d"),
            Rule("{p}Transformer/posembed_input/pos_embedding", ("pos.cls", "pos.grid"), "1 1+n d"),
        ),
        "encoder": (
            *affine(f"{_BLOCK}/LayerNorm_0", "blocks.{i}.norm1", "d", names="/scale /bias"),
            *affine(f"{_ATTENTION}/query", "blocks.{i}.q", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/key", "blocks.{i}.k", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/value", "blocks.{i}.v", "d h k -> (h k) d", "h k -> (h k)", names="/kernel /bias"),
            *affine(f"{_ATTENTION}/out", "blocks.{i}.proj", "h k d -> d (h k)", names="/kernel /bias"),
            *affine(f"{_BLOCK}/LayerNorm_2", "blocks.{i}.norm2", "d", names="/scale /bias"),
        ),
        "MLP": (
            *affine(f"{_BLOCK}/MlpBlock_3/Dense_0", "blocks.{i}.fc1", "d m -> m d", "m", names="/kernel /bias"),
            *affine(f"{_BLOCK}/MlpBlock_3/Dense_1", "blocks.{i}.fc2", "m d -> d m", names="/kernel /bias"),
        ),
        "final norm": affine("{p}Transformer/encoder_norm", "norm", "d", names="/scale /bias"),
        "pre_logits": affine("{p}pre_logits", "pre_logits", "d r -> r d", "r", names="/kernel /bias"),
        "classifier": affine("{p}head", "head", "r classes -> classes r", "classes", names="/kernel /bias"),
    },
)
LINEN = (("MultiHeadDotProductAttention_1", "MultiHeadDotProductAttention_0"), ("LayerNorm_2", "LayerNorm_1"), ("MlpBlock_3", "MlpBlock_0"))
"""flax linen numbers the modules of a block by kind: its second LayerNorm is `LayerNorm_1`, where older flax says `LayerNorm_2`."""
AUGREG = replace(AUGREG, spellings=(replace(AUGREG.spelt(*LINEN), prefixes=("", "params/", "opt/target/")),))
