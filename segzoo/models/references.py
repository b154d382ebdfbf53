"""Which independent references there are, by family. Each needs its library only when it is asked for."""

from importlib import import_module
from types import ModuleType

REFERENCES = {
    "vit": "segzoo.models.vit.reference",
    "swin": "segzoo.models.swin.reference",
    "mit": "segzoo.models.mit.reference",
    "beit": "segzoo.models.beit.reference",
}
"""Each module has two functions, `intermediates` and `remarks`, with the signatures of the plain ViT's, but for
what the family's `Reference.told` names."""


def reference_of(family: str) -> ModuleType:
    """The reference of a family. Raises ImportError if its library is not here."""
    return import_module(REFERENCES[family])
