"""Files of a Swin in transformers' names, which are converted to MMSegmentation's: four stages, tables, and indices that are made anew."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "swin",
        lambda: [(GOLDEN / "swin" / "hf" / "model.safetensors").read_bytes()],
        lambda path: convert(path, path.with_name("out.pth"), to="mmseg"),
        name="swin.safetensors",
        share=0.25,
    )
]
