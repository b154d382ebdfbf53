"""Twins as a family: which of its sections are alternatives, and which other Twins no layout has a place for."""

from segzoo.layouts.family import Family, Variant
from segzoo.layouts.twins.geometry import Geometry, TwinsBackbone, TwinsSizes, described, described_model, measured, shown

ATTENTION = (("global attention",), ("alternating attention",))
"""All blocks of a PCPVT attend to the whole map. Of an SVT's, every second one does, and the others attend within windows."""

VARIANTS = (
    Variant("PVT, which has tables of positions", names=("*pos_embeds.*", "pos_embed[1234]", "backbone.pos_embed[1234]")),
    Variant("keys of fewer tokens in the last stage too", names=("*layers.3.*.attn.sr.*", "*blocks.3.*.attn.sr.*", "*stages.3.*.attn.sr.*")),
    Variant("a key for each token in every stage or in some", lacks=("stages.*.reduction.*",)),
    Variant("fewer than four stages", lacks=("patches.3.*", "positions.3.*", "norms.3.*")),
    Variant("no bias of query, key and value", lacks=("stages.*.[qkv].bias",)),
)


def _summary(geometry: Geometry) -> str:
    return f"{geometry.variant.upper()}, width {geometry.widths[0]}, {sum(geometry.depths)} blocks"


TWINS = Family(
    name="twins",
    title="Twins",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=TwinsSizes,
    backbone=TwinsBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("variant", "widths", "depths"),
    width="widths",
    eps=1e-5,
    eps_of="MMSegmentation",
    choices=(ATTENTION,),
    essential={
        "encoder": "an encoder",
        "global attention": "attention to the whole map in each block",
        "alternating attention": "attention within windows in every second block",
        "output norms": "a norm on each stage's output",
    },
    stands_on={"classifier": ("final norm",)},
    fixed={"row": 2, "col": 2, "ky": 3, "kx": 3},
    variants=VARIANTS,
    image=lambda geometry: (29 * geometry.patch, 37 * geometry.patch, geometry.channels),
)
