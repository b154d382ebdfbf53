"""The image towers of transformers' CLIP and its kin, of SigLIP and of BLIP, alone or beside what reads texts (transformers 5.24): spellings of `hf`.

A CLIP has a norm before its blocks, and its patch embedding has no bias. AltCLIP and OWL-ViT have a name or two of their own. A SigLIP has no
class token, and may have a pooling head. Older files have an index of the positions too. The projection is the one to the space that images and
texts share. The classifier of a CLIP takes the average of the patches before the last norm, that of a SigLIP the average after it. Neither takes
the pooling head. A SigLIP 2 for pictures of any proportions (NaFlex) has a matrix for a patch embedding: its table is there so that it is known
by name.
"""

from collections.abc import Mapping
from dataclasses import replace

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Nested, Rule, affine
from segzoo.layouts.vit.family import VIT

_LAYER = "{p}encoder.layers.{i}"
_POSITIONS = "{p}embeddings.position_embedding.weight"
_QKV = ("pool.q", "pool.k", "pool.v")
_PATCH, _PATCH_BIAS = affine("{p}embeddings.patch_embedding", "patch", "d chan y x")
_BLOCKS = {
    "encoder": (
        *affine(f"{_LAYER}.layer_norm1", "blocks.{i}.norm1", "d"),
        *(rule for part in "qkv" for rule in affine(f"{_LAYER}.self_attn.{part}_proj", f"blocks.{{i}}.{part}", "e d", "e")),
        *affine(f"{_LAYER}.self_attn.out_proj", "blocks.{i}.proj", "d e"),
        *affine(f"{_LAYER}.layer_norm2", "blocks.{i}.norm2", "d"),
    ),
    "MLP": (*affine(f"{_LAYER}.mlp.fc1", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_LAYER}.mlp.fc2", "blocks.{i}.fc2", "d m")),
    "final norm": affine("{p}post_layernorm", "norm", "d"),
}
_TEXT = (
    Beside(
        ("text_model.", "text_projection.", "text_encoder.", "text_decoder.", "text_proj.", "itm_head."),
        "text tower",
        "beside the image tower, no part of it",
    ),
    Beside(("logit_scale", "logit_bias"), "numbers of the training", "beside the image tower, no part of it"),
)
_PREFIXES = ("vision_model.", "")


def _positions(tokens: int) -> Buffer:
    """The index of the positions: those of the grid, after those of so many tokens."""

    def counted(sizes: Mapping[str, int], places: Mapping[str, int]) -> Nested:
        return [list(range(tokens + sizes["n"]))]

    return Buffer("{p}embeddings.position_ids", counted, lambda sizes: tokens + sizes["n"], written=False)


CLIP = Layout(
    name="hf",
    title="Hugging Face transformers CLIP, image tower",
    family=VIT,
    suffix=".safetensors",
    eps=1e-5,
    needs=frozenset({"norm before the blocks"}),
    prefixes=_PREFIXES,
    beside=(*_TEXT, Beside(("classifier.",), "classifier of patches", "it takes the average of the patches before the last norm")),
    buffers=(_positions(1),),
    sections={
        "stem": (
            Rule("{p}embeddings.class_embedding", ("cls",), "d -> 1 1 d"),
            Rule(_POSITIONS, ("pos.cls", "pos.grid"), "1+n d -> 1 1+n d"),
            _PATCH,
        ),
        "norm before the blocks": affine("{p}pre_layrnorm", "norm_pre", "d"),
        **_BLOCKS,
        "projection": (Rule("visual_projection.weight", ("projection",), "shared d"),),
    },
)
SIGLIP = Layout(
    name="hf",
    title="Hugging Face transformers SigLIP, image tower",
    family=VIT,
    suffix=".safetensors",
    prefixes=_PREFIXES,
    beside=_TEXT,
    buffers=(_positions(0),),
    sections={
        "stem without class position": (Rule(_POSITIONS, ("pos.grid",), "n d -> 1 n d"), _PATCH, _PATCH_BIAS),
        **_BLOCKS,
        "pooling head": (
            Rule("{p}head.probe", ("pool.probe",), "1 1 d"),
            Rule("{p}head.attention.in_proj_weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            Rule("{p}head.attention.in_proj_bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),
            *affine("{p}head.attention.out_proj", "pool.proj", "d e"),
            *affine("{p}head.layernorm", "pool.norm", "d"),
            *affine("{p}head.mlp.fc1", "pool.fc1", "pm d", "pm"),
            *affine("{p}head.mlp.fc2", "pool.fc2", "d pm"),
        ),
        "classifier": affine("classifier", "head", "classes r", "classes"),
    },
    excludes={"classifier": "pooling head"},
)
_FLAT = Rule("{p}embeddings.patch_embedding.weight", ("patch.weight",), "d flat")
_NAFLEX = replace(
    SIGLIP, sections={**SIGLIP.sections, "stem without class position": (Rule(_POSITIONS, ("pos.grid",), "n d -> 1 n d"), _FLAT, _PATCH_BIAS)}
)
_ATTENTION = f"{_LAYER}.self_attn"
BLIP = replace(
    CLIP,
    title="Hugging Face transformers BLIP, image tower",
    needs=frozenset(),
    buffers=(),
    beside=(*_TEXT, Beside(("vision_proj.",), "projection", "to the space of texts, behind the image tower")),
    sections={
        "stem": (
            Rule("{p}embeddings.class_embedding", ("cls",), "1 1 d"),
            Rule("{p}embeddings.position_embedding", ("pos.cls", "pos.grid"), "1 1+n d"),
            *(_PATCH, _PATCH_BIAS),
        ),
        **_BLOCKS,
        "encoder": (
            *affine(f"{_LAYER}.layer_norm1", "blocks.{i}.norm1", "d"),
            Rule(f"{_ATTENTION}.qkv.weight", tuple(f"blocks.{{i}}.{part}.weight" for part in "qkv"), "(s e) d -> s e d"),
            Rule(f"{_ATTENTION}.qkv.bias", tuple(f"blocks.{{i}}.{part}.bias" for part in "qkv"), "(s e) -> s e"),
            *affine(f"{_ATTENTION}.projection", "blocks.{i}.proj", "d e"),
            *affine(f"{_LAYER}.layer_norm2", "blocks.{i}.norm2", "d"),
        ),
        "projection": CLIP.sections["projection"],
    },
)
TOWERS = (CLIP, CLIP.spelt(("pre_layrnorm", "pre_layernorm")), CLIP.spelt(("encoder.layers.", "encoder.layer.")), SIGLIP, _NAFLEX, BLIP)
