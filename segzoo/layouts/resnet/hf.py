"""`hf`: transformers' ResNetModel, ResNetBackbone and ResNetForImageClassification, of bottlenecks (checked against 5.24)."""

from segzoo.layouts.layout import Layout
from segzoo.layouts.resnet.family import RESNET
from segzoo.layouts.resnet.stages import blocks, sections
from segzoo.layouts.rule import affine


def _layer(name: str) -> tuple[str, str]:
    return f"{name}.convolution", f"{name}.normalization"


HF = Layout(
    name="hf",
    title="Hugging Face transformers ResNet",
    family=RESNET,
    suffix=".safetensors",
    eps=1e-5,
    prefixes=("resnet.", ""),
    sections={
        **sections(
            stem=_layer("{p}embedder.embedder"),
            blocks=blocks("{p}encoder.stages.%d.layers.%s"),
            layers=[_layer(f"layer.{place}") for place in range(3)],
            shortcut=_layer("shortcut"),
        ),
        "classifier": affine("classifier.1", "head", "classes d3", "classes"),
    },
    optional=frozenset({"batch counts"}),
)
