"""Files of a BEiT in its authors' names, with an index, and whole models: they are converted to MMSegmentation's names."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "beit",
        lambda: [(GOLDEN / "beit" / f"{name}.pth").read_bytes() for name in ("official", "official_segmentation")],
        lambda path: convert(path, path.with_name("out.safetensors"), to="mmseg"),
        name="beit.pth",
        share=0.25,
    )
]
