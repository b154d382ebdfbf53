"""The names that transformers 5 gives a ViT's tensors in memory, and what it calls them on disk (`conversion_mapping.py`, 5.24)."""

import re

_LAYER = re.compile(r"(^|\.)layers\.(\d+)\.(attention|layernorm_before|layernorm_after|mlp)\b")
LAYER = ("encoder.layer.", "layers.")
ATTENTION = (
    *((f"attention.attention.{name}", f"attention.{name[0]}_proj") for name in ("query", "key", "value")),
    ("attention.output.dense", "attention.o_proj"),
)
MLP = (("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"))
"""Parts of names, each on disk and in memory."""


def on_disk(name: str) -> str:
    """The name on disk of a tensor; a name that is none of these stays as it is."""
    if not _LAYER.search(name):
        return name
    name = _LAYER.sub(r"\1encoder.layer.\2.\3", name)
    for disk, memory in (*ATTENTION, *MLP):
        name = name.replace(f".{memory}.", f".{disk}.")
    return name
