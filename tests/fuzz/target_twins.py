"""Files of a Twins in its authors' names, which are converted to MMSegmentation's: blocks of two kinds in turns."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "twins",
        lambda: [(GOLDEN / "twins" / f"official_{variant}.pth").read_bytes() for variant in ("pcpvt", "svt")],
        lambda path: convert(path, path.with_name("out.safetensors"), to="mmseg"),
        name="twins.pth",
        share=0.25,
    )
]
