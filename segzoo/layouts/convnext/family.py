"""ConvNeXt as a family: which of its sections are alternatives, and which other ConvNeXts no layout has a place for."""

from segzoo.layouts.convnext.geometry import ConvNeXtBackbone, ConvNeXtSizes, described, described_model, measured, shown
from segzoo.layouts.family import Family, Variant

NORMS = (("final norm",), ("output norms",))
"""A file has a norm after the last stage, or one on each stage's output."""

_SOME_NORMS = "norms on some of the outputs only, as some detectors have"
VARIANTS = (
    Variant("ConvNeXt V2, whose blocks have a global response normalisation (GRN) and no layer scale", names=("*.grn.*",)),
    Variant("a stem of overlapping convolutions", names=("stem.[2-9].*",)),
    Variant("no layer scale", lacks=("stages.*.scale",)),
    Variant("no biases of convolutions", lacks=("*.conv.bias",)),
    Variant("no final norm", lacks=("norm.*",)),
    Variant(_SOME_NORMS, lacks=("norms.0.*",)),
    Variant(_SOME_NORMS, names=("norm[012].*", "*backbone.norm[012].*", "*hidden_states_norms.*")),
)

CONVNEXT = Family(
    name="convnext",
    title="ConvNeXt",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=ConvNeXtSizes,
    backbone=ConvNeXtBackbone,
    describe=described,
    describe_model=described_model,
    summary=lambda geometry: f"width {geometry.widths[0]}, {sum(geometry.depths)} blocks",
    kin=("widths", "depths"),
    width="widths",
    eps_of="facebookresearch/ConvNeXt, timm and MMPreTrain",
    choices=(NORMS,),
    essential={"encoder": "an encoder", "final norm": "a norm after its last stage only", "output norms": "a norm on each stage's output"},
    fixed={"row": 2, "col": 2, "ky": 7, "kx": 7},
    variants=VARIANTS,
    aside={"*mask_token": "used in pre-training only"},
    image=lambda geometry: (29 * geometry.patch, 37 * geometry.patch, geometry.channels),
)
