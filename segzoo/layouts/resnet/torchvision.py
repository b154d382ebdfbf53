"""`torchvision`: torchvision's resnet50, resnet101 and resnet152 (checked against 0.29). timm has the same names (1.0.31)."""

from dataclasses import replace

from segzoo.layouts.layout import Layout
from segzoo.layouts.resnet.family import RESNET
from segzoo.layouts.resnet.stages import STAGES, sections
from segzoo.layouts.rule import affine

LAYERS = [(f"conv{place}", f"bn{place}") for place in (1, 2, 3)]
BLOCKS = [f"{{p}}layer{stage + 1}.{{{letter}}}" for stage, letter in STAGES]

TORCHVISION = Layout(
    name="torchvision",
    title="torchvision ResNet",
    family=RESNET,
    eps=1e-5,
    sections={
        **sections(stem=("{p}conv1", "{p}bn1"), blocks=BLOCKS, layers=LAYERS, shortcut=("downsample.0", "downsample.1")),
        "classifier": affine("{p}fc", "head", "classes d3", "classes"),
    },
    optional=frozenset({"batch counts"}),
)
TIMM = replace(TORCHVISION, name="timm", title="timm ResNet", suffix=".safetensors")
