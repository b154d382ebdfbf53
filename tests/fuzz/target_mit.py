"""Files of MiTs in the names of their authors, alone and with a head, which are converted to transformers' names."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "segformer",
        lambda: [(GOLDEN / "mit" / f"{name}.pth").read_bytes() for name in ("official", "official_segformer")],
        lambda path: convert(path, path.with_name("out.safetensors"), to="hf"),
        name="segformer.pth",
        share=0.25,
    )
]
