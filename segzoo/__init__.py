"""segzoo turns published ViT weights into segmentation models one can trust.

Read it in this order: layouts (the tables), remap (their engine), geometry, formats, convert; zoo,
store, fetch; model, reference, parity; datasets, inference, miou, evaluate; verify, receipt; cli.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {"convert": "segzoo.convert", "open_weights": "segzoo.formats"}
__all__ = ["convert", "open_weights"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'segzoo' has no attribute '{name}'")
