"""ResNet as a family: those of bottlenecks, 50, 101 and 152, and which other ResNets no layout has a place for."""

from segzoo.layouts.family import Family, Variant
from segzoo.layouts.resnet.geometry import Geometry, ResNetBackbone, ResNetSizes, described, described_model, measured, shown

VARIANTS = (
    Variant("a stem of three convolutions (ResNet-C, -D, MMSegmentation's ResNetV1c)", names=("stem.*", "*backbone.stem.*", "conv1.[0-9].*")),
    Variant("channel attention (SE, ECA, SK)", names=("*.se.*", "*.se_module.*", "*.conv2.attn.*")),
    Variant("an average pooling in its shortcuts", names=("*.downsample.2.*",)),
    Variant("blocks of two convolutions, as ResNet-18 and -34 have", lacks=("stages.*.2.conv.*", "stages.*.2.norm.*", "stages.0.shortcut.*")),
    Variant("group norms, which have no statistics", lacks=("*.mean", "*.var")),
)


def _summary(geometry: Geometry) -> str:
    return f"width {geometry.width}, {sum(geometry.depths)} bottlenecks"


RESNET = Family(
    name="resnet",
    title="ResNet",
    always="encoder",
    measure=measured,
    shown=shown,
    sizes=ResNetSizes,
    backbone=ResNetBackbone,
    describe=described,
    describe_model=described_model,
    summary=_summary,
    kin=("width", "depths"),
    eps=1e-5,
    eps_of="torchvision, timm and MMSegmentation",
    essential={"encoder": "an encoder"},
    neutral={"*.norm.batches": 0},
    fixed={"sy": 7, "sx": 7, "ky": 3, "kx": 3},
    variants=VARIANTS,
    image=lambda geometry: (29 * geometry.stride, 37 * geometry.stride, geometry.channels),
)
