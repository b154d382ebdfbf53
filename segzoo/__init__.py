"""segzoo turns published ViT weights into segmentation models one can trust.

Read it in this order: layouts (the tables), geometry, detection, remap (their engine), formats, computed, conversion,
inspection, difference; faults, zoo, merging, store, partial, transfer, delivery, download, adopt, bundle; model, reference, parity;
datasets, inference, miou, evaluation; cell, verify, receipt, statement; plots, gallery, report; configuration, standalone, graph, modelcard,
publication; spelling, addition, proposal, review (a zoo of one's own); cli.

The public names below are functions; modules have other names, so that importing one hides none.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "convert": ("segzoo.conversion.convert", "convert"),
    "open": ("segzoo.formats", "open_weights"),
    "fetch": ("segzoo.library", "fetch"),
    "evaluate": ("segzoo.library", "evaluate"),
    "export": ("segzoo.library", "export"),
    "load": ("segzoo.zoo.loading", "load"),
    "backbone": ("segzoo.zoo.loading", "backbone"),
}
__all__ = ["backbone", "convert", "evaluate", "export", "fetch", "load", "open"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("segzoo")
    if name in _PUBLIC:
        module, function = _PUBLIC[name]
        return getattr(import_module(module), function)
    raise AttributeError(f"module 'segzoo' has no attribute '{name}'")
