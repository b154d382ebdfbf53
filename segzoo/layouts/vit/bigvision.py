"""`bigvision`: checkpoints of google-research/big_vision `models/vit.py`, flattened to npz.

The names are flax linen's. The position table has no entry for the class token. A model without a class token has a pooling head
(`MAPHead_0`) or takes an average. Training with `scan=True` stacks all blocks in one array. A model of image and text holds
the ViT under `params/img/`; its text tower, temperature and bias are left out.
"""

from dataclasses import replace

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_BLOCK = "{p}Transformer/encoderblock_{i}"
_NAMES = "/kernel /bias"


def _attention(key: str, holds: str) -> tuple[Rule, ...]:
    own = f"{key}/MultiHeadDotProductAttention_0"
    return (
        *affine(f"{own}/query", f"{holds}.q", "d h k -> (h k) d", "h k -> (h k)", _NAMES),
        *affine(f"{own}/key", f"{holds}.k", "d h k -> (h k) d", "h k -> (h k)", _NAMES),
        *affine(f"{own}/value", f"{holds}.v", "d h k -> (h k) d", "h k -> (h k)", _NAMES),
        *affine(f"{own}/out", f"{holds}.proj", "h k d -> d (h k)", names=_NAMES),
    )


def _mlp(key: str, holds: str, mlp: str = "m") -> tuple[Rule, ...]:
    return (
        *affine(f"{key}/MlpBlock_0/Dense_0", f"{holds}.fc1", f"d {mlp} -> {mlp} d", mlp, _NAMES),
        *affine(f"{key}/MlpBlock_0/Dense_1", f"{holds}.fc2", f"{mlp} d -> d {mlp}", names=_NAMES),
    )


_BLOCKS = (
    *affine(f"{_BLOCK}/LayerNorm_0", "blocks.{i}.norm1", "d", names="/scale /bias"),
    *_attention(_BLOCK, "blocks.{i}"),
    *affine(f"{_BLOCK}/LayerNorm_1", "blocks.{i}.norm2", "d", names="/scale /bias"),
)
_MLPS = _mlp(_BLOCK, "blocks.{i}")


def _scanned(rule: Rule) -> Rule:
    """The rule for one tensor that holds all blocks, stacked."""
    return Rule(rule.key.replace("encoderblock_{i}", "encoderblock"), rule.holds, f"s {rule.native} -> s {rule.canonical}")


BIGVISION = Layout(
    name="bigvision",
    title="big_vision ViT npz",
    family=VIT,
    suffix=".npz",
    prefixes=("params/", "params/img/", "opt/target/", ""),
    beside=(Beside(("params/txt/", "params/t", "params/b"), "text model", "beside the image model, no part of it", prefix="params/img/"),),
    sections={
        "stem without class position": (
            *affine("{p}embedding", "patch", "y x chan d -> d chan y x", names=_NAMES),
            Rule("{p}pos_embedding", ("pos.grid",), "1 n d"),
        ),
        "class token": (Rule("{p}cls", ("cls",), "1 1 d"),),
        "encoder": _BLOCKS,
        "MLP": _MLPS,
        "final norm": affine("{p}Transformer/encoder_norm", "norm", "d", names="/scale /bias"),
        "pooling head": (
            Rule("{p}MAPHead_0/probe", ("pool.probe",), "1 1 d"),
            *_attention("{p}MAPHead_0", "pool"),
            *affine("{p}MAPHead_0/LayerNorm_0", "pool.norm", "d", names="/scale /bias"),
            *_mlp("{p}MAPHead_0", "pool", "pm"),
        ),
        "pre_logits": affine("{p}pre_logits", "pre_logits", "d r -> r d", "r", _NAMES),
        "classifier": affine("{p}head", "head", "r classes -> classes r", "classes", _NAMES),
    },
)
_STACKED = {"encoder": tuple(map(_scanned, _BLOCKS)), "MLP": tuple(map(_scanned, _MLPS))}
BIGVISION = replace(BIGVISION, spellings=(replace(BIGVISION, sections={**BIGVISION.sections, **_STACKED}),))
