"""`hf`: files of transformers' ViT, ViTMAE, ViTMSN, DeiT, IJepa, Dinov2 and Dinov2WithRegisters, under the names on disk (transformers 5.24).

transformers 5 renames them in memory only; `torch.save(model.state_dict())` has those names. A plain ViT is written as a ViT, one with LayerScale
or registers as a Dinov2, one with a distillation token as a DeiT, one without a class token as an IJepa. The towers of CLIP and SigLIP stand in
`hf_towers`.
The pooler of a ViT is the pre-logits layer of the older ImageNet-21k files. The classifier does not take its input from the pooler. That of a
Dinov2 takes the class token and the average of the patches, side by side.
A `flax_model.msgpack` of a ViT, a Dinov2 or a CLIP (transformers 4.57.1, the last with flax) is read too.
"""

from dataclasses import replace

from segzoo.layouts.flax_names import in_flax
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import APART, VIT
from segzoo.layouts.vit.hf_towers import CLIP, TOWERS
from segzoo.layouts.vit.in_memory import ATTENTION, LAYER, MLP
from segzoo.layouts.vit.parts import packed, stems

_LAYER = "{p}encoder.layer.{i}"
_QKV = f"{_LAYER}.attention.attention"
_CLS = Rule("{p}embeddings.cls_token", ("cls",), "1 1 d")
_DIST = Rule("{p}embeddings.distillation_token", ("dist",), "1 1 d")
_REG = Rule("{p}embeddings.register_tokens", ("reg",), "1 reg d")
_STEMS = stems("{p}embeddings.position_embeddings", _CLS, _DIST, _REG, affine("{p}embeddings.patch_embeddings.projection", "patch", "d chan y x"))


def _block(before: str, after: str) -> tuple[Rule, ...]:
    """The attention of a layer and its norms, by their names."""
    return (
        *affine(f"{_LAYER}.{before}", "blocks.{i}.norm1", "d"),
        *(Rule(f"{_QKV}.{name}.weight", (f"blocks.{{i}}.{name[0]}.weight",), "e d") for name in ("query", "key", "value")),
        *affine(f"{_LAYER}.attention.output.dense", "blocks.{i}.proj", "d e"),
        *affine(f"{_LAYER}.{after}", "blocks.{i}.norm2", "d"),
    )


HF = Layout(
    name="hf",
    title="Hugging Face transformers ViT, DeiT, Dinov2, CLIP and kin",
    family=VIT,
    suffix=".safetensors",
    eps=1e-12,
    prefixes=("vit.", "", "dpt."),
    beside=(
        Beside((), "mask token", "used in pre-training only", ends=("embeddings.mask_token",)),
        Beside(("decoder.",), "decoder", "rebuilds images in pre-training, no part of the encoder", prefix="vit."),
    ),
    sections={
        "stem": _STEMS["stem"],
        "encoder": _block("layernorm_before", "layernorm_after"),
        "MLP": (*affine(f"{_LAYER}.intermediate.dense", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_LAYER}.output.dense", "blocks.{i}.fc2", "d m")),
        "final norm": affine("{p}layernorm", "norm", "d"),
        "qkv bias": tuple(Rule(f"{_QKV}.{name}.bias", (f"blocks.{{i}}.{name[0]}.bias",), "e") for name in ("query", "key", "value")),
        "pre_logits": affine("{p}pooler.dense", "pre_logits", "r d", "r"),
        "classifier": affine("classifier", "head", "classes r", "classes"),
    },
    optional=frozenset({"qkv bias"}),
    excludes={"classifier": "pre_logits"},
)
_OF_VIT = (*ATTENTION, LAYER, *((f"{{i}}.{disk}", f"{{i}}.{memory}") for disk, memory in MLP))

_WITHOUT = {name: rules for name, rules in HF.sections.items() if name not in ("stem", "pre_logits", "classifier")}
_DEIT = replace(
    HF,
    prefixes=("deit.", ""),
    beside=tuple(replace(one, prefix=one.prefix and "deit.") for one in HF.beside),
    sections={
        "distilled stem": _STEMS["distilled stem"],
        **_WITHOUT,
        "pre_logits": HF.sections["pre_logits"],
        "classifier": affine("cls_classifier", "head", "classes r", "classes"),
        "distillation classifier": affine("distillation_classifier", "head_dist", "classes r", "classes"),
    },
)
_DEIT_ALONE = replace(_DEIT, sections={**_DEIT.sections, "classifier": HF.sections["classifier"]})
_IJEPA = replace(
    HF,
    prefixes=("ijepa.", ""),
    sections={
        "stem without class position": _STEMS["stem without class position"],
        **_WITHOUT,
        "classifier": HF.sections["classifier"],
    },
)
_MSN = replace(HF.spelt(("{p}encoder.", "encoder.")), prefixes=("vit.",), eps=1e-6)  # a ViTMSN's classifier saves its blocks without the prefix
_DINOV2 = replace(
    HF,
    eps=1e-6,
    prefixes=("", "dinov2.", "dinov2_with_registers."),
    sections={
        "stem": _STEMS["stem"],
        APART: _STEMS["register tokens"],
        **_WITHOUT,
        "encoder": _block("norm1", "norm2"),
        "MLP": (*affine(f"{_LAYER}.mlp.fc1", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_LAYER}.mlp.fc2", "blocks.{i}.fc2", "d m")),
        "gated MLP": (*packed(f"{_LAYER}.mlp.weights_in"), *affine(f"{_LAYER}.mlp.weights_out", "blocks.{i}.fc2", "d m")),
        "layer scale": tuple(Rule(f"{_LAYER}.layer_scale{n}.lambda1", (f"blocks.{{i}}.ls{n}",), "d") for n in (1, 2)),
        "classifier of token and average": affine("classifier", "head_both", "classes both", "classes"),
    },
)
_IN_MEMORY = _DINOV2.spelt(*ATTENTION)
_APART = (
    *affine(f"{_LAYER}.mlp.gate_proj", "blocks.{i}.gate", "m d", "m"),
    *affine(f"{_LAYER}.mlp.up_proj", "blocks.{i}.fc1", "m d", "m"),
    *affine(f"{_LAYER}.mlp.down_proj", "blocks.{i}.fc2", "d m"),
)
_IN_MEMORY = replace(_IN_MEMORY, sections={**_IN_MEMORY.sections, "gated MLP": _APART})


_FLAX = tuple(map(in_flax, (HF, _DINOV2, CLIP)))
HF = replace(
    HF,
    spellings=(
        *(HF.spelt(*_OF_VIT), _DINOV2, _IN_MEMORY, _DEIT, _DEIT_ALONE, _DEIT.spelt(*_OF_VIT), _DEIT_ALONE.spelt(*_OF_VIT)),
        *(_IJEPA, _IJEPA.spelt(*_OF_VIT), _MSN, *TOWERS, *_FLAX),
    ),
)
