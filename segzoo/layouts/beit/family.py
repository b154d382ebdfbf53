"""BEiT as a family: which of its sections are alternatives, and which other BEiTs no layout has a place for.

MMSegmentation's MAE is one of them: its class is made of BEiT's, and the models differ in biases and absolute positions only.
"""

from segzoo.layouts.beit.geometry import MAE, BeitBackbone, BeitSizes, Geometry, described, described_model, measured, shown
from segzoo.layouts.family import Family, Reference, Variant
from segzoo.layouts.layout import Beside

KINDS = (("qv bias",), ("qkv bias", "positions"))
"""A file is a BEiT's or a MAE's."""

DECODER = Beside(("mask_token", "decoder_"), "decoder", "used in pre-training only")
"""What MAE's files of pre-training hold beside the encoder."""

VARIANTS = (
    Variant(
        "one table of relative positions for all blocks, as BEiT's files of pre-training have: take those that were fine-tuned after it (ft22k)",
        names=("*rel_pos_bias.relative_position_bias_table", "*encoder.relative_position_bias.*"),
    ),
    Variant("absolute positions beside the relative ones, and no bias of keys", names=("*pos_embed", "*position_embeddings")),
    Variant("a gated MLP (SwiGLU), as EVA-02 has", names=("*.w12.*", "*.w[123].*", "*.fc1_g.*")),
    Variant("norms within attention or MLP, as BEiT-3 and EVA-02 have", names=("*inner_attn_ln*", "*ffn_ln*", "*.mlp.norm.*", "*attn.norm.*")),
    Variant("rotary positions", names=("*rope*",)),
    Variant("register tokens, as EVA and DINOv3 have, whose positions are rotary", names=("*reg_token*", "*register_token*", "*storage_token*")),
    Variant(
        "a UPerNet head under the names that transformers 5 has in memory, and a Data2VecVision also on disk",
        names=("decode_head.*.convolution.*", "decode_head.*.normalization.*"),
    ),
    Variant("no biases of queries and values", lacks=("blocks.*.[qv].bias",)),
    Variant("no relative positions", lacks=("blocks.*.table",)),
)


def _summary(geometry: Geometry) -> str:
    kind = "a MAE, " if geometry.variant == MAE else ""
    return f"{kind}width {geometry.width}, {geometry.depth} blocks, patch {geometry.patch}, images of {geometry.image[0]}"


BEIT = Family(
    name="beit",
    title="BEiT",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=BeitSizes,
    backbone=BeitBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("variant", "width", "depth", "heads", "patch"),
    eps_of="Microsoft, timm and MMSegmentation",
    choices=(KINDS,),
    essential={
        "encoder": "an encoder",
        "positions": "absolute positions",
        "qv bias": "biases of queries and values, and none of keys",
        "qkv bias": "biases of queries, keys and values",
    },
    neutral={"blocks.*.table": 0, "blocks.*.scale?": 1},
    stands_on={"classifier": ("pooled norm",)},
    variants=VARIANTS,
    aside={"*mask_token": "used in pre-training only", "*lm_head.*": "used in pre-training only"},
    asked={"heads": ("the attention heads", "say how many with --heads N (12 for ViT-B, 16 for ViT-L)")},
    reference=Reference(
        "transformers",
        "transformers",
        ("hf",),
        "mmseg",
        "no library but mmseg has a MAE with relative positions beside absolute ones: transformers and timm have a plain ViT of this name",
    ),
    image=lambda geometry: (*geometry.image, geometry.channels),
)
