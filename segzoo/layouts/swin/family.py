"""Swin Transformer as a family: which of its sections are alternatives, and which other Swins no layout has a place for."""

from segzoo.layouts.family import Family, Reference, Variant
from segzoo.layouts.layout import Beside
from segzoo.layouts.swin.geometry import Geometry, SwinBackbone, SwinSizes, described, described_model, measured, shown

MASKS = Beside((), "attention masks", "they follow from the size of an image", ends=(".attn_mask",))

NORMS = (("final norm",), ("output norms",))
"""A file has a norm after the last stage, or one on each stage's output."""

_SOME_NORMS = "norms on some of the outputs only, as some detectors have"
VARIANTS = (
    Variant(
        "Swin Transformer V2, whose attention is another one (cosine similarity, positions by an MLP)",
        names=("*logit_scale*", "*cpb_mlp*", "*continuous_position_bias_mlp*", "*relative_coords_table*"),
    ),
    Variant("absolute position embeddings (ape)", names=("*absolute_pos_embed", "*embeddings.position_embeddings")),
    Variant("Swin MLP, which has no attention", names=("*.spatial_mlp.*",)),
    Variant("a mixture of experts (Swin MoE)", names=("*_moe_layer*",)),
    Variant("no bias of query, key and value", lacks=("stages.*.[qkv].bias",)),
    Variant("no norm of the patch embedding", lacks=("patch.norm.*",)),
    Variant("no final norm", lacks=("norm.*",)),
    Variant(_SOME_NORMS, lacks=("norms.0.*",)),
    Variant(_SOME_NORMS, names=("norm[012].*", "*backbone.norm[012].*", "*hidden_states_norms.*")),
)


def _summary(geometry: Geometry) -> str:
    return f"width {geometry.width}, {sum(geometry.depths)} blocks, window {geometry.window}"


SWIN = Family(
    name="swin",
    title="Swin",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=SwinSizes,
    backbone=SwinBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("width", "depths", "heads", "window"),
    eps=1e-5,
    eps_of="Microsoft, timm and MMSegmentation",
    choices=(NORMS,),
    essential={"encoder": "an encoder", "final norm": "a norm after its last stage only", "output norms": "a norm on each stage's output"},
    fixed={"row": 2, "col": 2},
    variants=VARIANTS,
    aside={"*mask_token": "used in pre-training only"},
    reference=Reference("transformers", "transformers", ("hf",), "mmseg", "transformers' Swin has no place for it"),
    image=lambda geometry: (29 * geometry.patch, 37 * geometry.patch, geometry.channels),
)
