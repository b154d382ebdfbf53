"""The names that transformers 5 gives a ViT's tensors in memory, and what it calls them on disk (`conversion_mapping.py`, 5.24)."""

import re

_LAYER = re.compile(r"(^|\.)layers\.(\d+)\.(attention|layernorm_before|layernorm_after|mlp)\b")
_PARTS = {
    ".attention.q_proj.": ".attention.attention.query.",
    ".attention.k_proj.": ".attention.attention.key.",
    ".attention.v_proj.": ".attention.attention.value.",
    ".attention.o_proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}


def on_disk(name: str) -> str:
    """The name on disk of a tensor; a name that is none of these stays as it is."""
    if not _LAYER.search(name):
        return name
    name = _LAYER.sub(r"\1encoder.layer.\2.\3", name)
    for there, here in _PARTS.items():
        name = name.replace(there, here)
    return name
