"""segzoo turns published ViT weights into segmentation models one can trust.

The rooms, in the order in which one may use another (docs/architecture.md walks through them):

    vocabulary, errors, spec, atomic, text     the ground: words, faults, shapes, files that appear when right
    extras, environment                        the ground too: libraries that may lack, what variables say
    layouts, formats, datasets                 what each tensor is called; arrays in files; images with labels
    models, manifest, conversion               the networks; zoo.yaml as a document; one layout to another
    store, evaluation                          bytes by content, and how they come; images to counts to a verdict
    zoo                                        manifests in use: names resolved, files got and opened
    evidence                                   the ladder, its rungs, its receipts
    publishing                                 pictures, pages, exported folders
    api, cli                                   what a program asks for; what a person types

The names below are all that is public. They are functions; no room has the name of one of them.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "convert": "segzoo.conversion.convert",
    "open": "segzoo.formats",
    "fetch": "segzoo.api",
    "load": "segzoo.api",
    "predict": "segzoo.api",
    "backbone": "segzoo.api",
    "evaluate": "segzoo.api",
    "export": "segzoo.api",
}
__all__ = ["backbone", "convert", "evaluate", "export", "fetch", "load", "open", "predict"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("segzoo")
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), {"open": "open_weights"}.get(name, name))
    raise AttributeError(f"module 'segzoo' has no attribute '{name}'")
