"""Which independent references there are, by family. Importing this module needs their libraries."""

from types import ModuleType

from segzoo.models.vit import reference as vit

REFERENCES: dict[str, ModuleType] = {"vit": vit}
"""Each module has two functions, `intermediates` and `remarks`, with the signatures of the plain ViT's."""
