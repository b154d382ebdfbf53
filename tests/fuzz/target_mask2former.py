"""Files of a Mask2Former on a ResNet, and of a ResNet alone, which are converted between names."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "mask2former",
        lambda: [(GOLDEN / "transformers" / "mask2former_resnet.pth").read_bytes(), (GOLDEN / "resnet" / "torchvision.pth").read_bytes()],
        lambda path: convert(path, path.with_name("out.safetensors"), to="mmseg"),
        name="mask2former.pth",
        share=0.25,
    )
]
