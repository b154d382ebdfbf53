"""MiT as a family: what a manifest says of it, and which other backbones of its kind no layout has a place for."""

from segzoo.layouts.family import Family, Reference, Variant
from segzoo.layouts.mit.geometry import MitBackbone, MitSizes, described, described_model, measured, shown

_LAST = ("*block4.*.attn.sr.*", "*layers.3.1.*.attn.sr.*", "*encoder.block.3.*.self.sr.*")
UNLIKE = "MMSegmentation's has BatchNorm and ReLU after the matrix of each level, that of NVlabs and transformers has neither"
"""How the two SegFormer heads differ."""

VARIANTS = (
    Variant("PVT, which has tables of positions and no convolution in its MLPs", names=("*pos_embed[1234]",)),
    Variant("keys of fewer tokens in the last stage too, as PVT v2 Linear has", names=_LAST),
    Variant("a key for each token in every stage or in some", lacks=("stages.*.reduction.*",)),
    Variant("no convolution in its MLPs", lacks=("stages.*.conv.*",)),
    Variant("no bias of query, key and value", lacks=("stages.*.[qkv].bias",)),
    Variant("fewer than four stages", lacks=("stages.3.*", "patches.3.*", "norms.3.*")),
    Variant("no norm on some of the outputs", lacks=("norms.*",)),
)

MIT = Family(
    name="mit",
    title="MiT",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=MitSizes,
    backbone=MitBackbone,
    describe=described,
    describe_model=described_model,
    summary=lambda geometry: f"width {geometry.widths[0]}, {sum(geometry.depths)} blocks",
    kin=("widths", "depths"),
    width="widths",
    eps_of="MMSegmentation",
    essential={"encoder": "an encoder"},
    fixed={"ky": 3, "kx": 3},
    variants=VARIANTS,
    reference=Reference("transformers", "transformers", ("hf",), "mmseg", "transformers' SegFormer has no place for it", told=("heads", "conv_eps")),
    image=lambda geometry: (29 * geometry.stride, 37 * geometry.stride, geometry.channels),
)
