"""`dinov2`: the files of facebookresearch/dino and facebookresearch/dinov2, of ViTs with and without registers.

The positions of the grid and of the class token are one table; registers have none. In the training of DINOv2 blocks come in chunks
(`block_chunks`), and a file can still say so: `blocks.1.7` is the eighth block of all, and it is in the second chunk. DINO's files have no
LayerScale, and may have a classifier. Weights of a hub model with a classifier have `backbone.` before their names. That classifier takes the
class token and the average of the patches.
"""

from dataclasses import replace

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import APART, VIT
from segzoo.layouts.vit.parts import packed, stems

_BLOCK = "{p}blocks.{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")
_STEMS = stems(
    "{p}pos_embed",
    Rule("{p}cls_token", ("cls",), "1 1 d"),
    None,
    Rule("{p}register_tokens", ("reg",), "1 reg d"),
    affine("{p}patch_embed.proj", "patch", "d chan y x"),
)

DINOV2 = Layout(
    name="dinov2",
    title="Meta's DINO and DINOv2",
    family=VIT,
    prefixes=("", "backbone."),
    beside=(
        Beside((), "mask token", "used in pre-training only", ends=("mask_token",)),
        Beside(("head.mlp.", "head.last_layer.", "dino_head.", "ibot_head."), "projection head", "used in pre-training only"),
    ),
    sections={
        "stem": _STEMS["stem"],
        APART: _STEMS["register tokens"],
        "encoder": (
            *affine(f"{_BLOCK}.norm1", "blocks.{i}.norm1", "d"),
            Rule(f"{_BLOCK}.attn.qkv.weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            *affine(f"{_BLOCK}.attn.proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_BLOCK}.norm2", "blocks.{i}.norm2", "d"),
        ),
        "qkv bias": (Rule(f"{_BLOCK}.attn.qkv.bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),),
        "MLP": (*affine(f"{_BLOCK}.mlp.fc1", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_BLOCK}.mlp.fc2", "blocks.{i}.fc2", "d m")),
        "gated MLP": (*packed(f"{_BLOCK}.mlp.w12"), *affine(f"{_BLOCK}.mlp.w3", "blocks.{i}.fc2", "d m")),
        "layer scale": (Rule(f"{_BLOCK}.ls1.gamma", ("blocks.{i}.ls1",), "d"), Rule(f"{_BLOCK}.ls2.gamma", ("blocks.{i}.ls2",), "d")),
        "final norm": affine("{p}norm", "norm", "d"),
        "classifier": affine("head", "head", "classes r", "classes"),
        "classifier of token and average": affine("linear_head", "head_both", "classes both", "classes"),
    },
    optional=frozenset({"qkv bias"}),
)
DINOV2 = replace(DINOV2, spellings=(DINOV2.spelt(("blocks.{i}", "blocks.{c}.{i}")),))
