"""Files of SETR-MLA and DPT, which are read as MMSegmentation's ViT: neck, head, batch norms, and heads beside the model."""

from harness import Target
from support import GOLDEN

from segzoo.conversion.convert import convert

TARGETS = [
    Target(
        "setr",
        lambda: [(GOLDEN / "transformers" / f"{name}.pth").read_bytes() for name in ("setr_mla", "dpt")],
        lambda path: convert(path, path.with_name("out.safetensors"), to="timm"),
        name="setr.pth",
        share=0.25,
    )
]
