"""Files of a ConvNeXt in transformers' names, which are converted to MMSegmentation's: four stages, each of its own width."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "convnext",
        lambda: [(GOLDEN / "convnext" / "hf" / "model.safetensors").read_bytes()],
        lambda path: convert(path, path.with_name("out.pth"), to="mmseg"),
        name="convnext.safetensors",
        share=0.25,
    )
]
