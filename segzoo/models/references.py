"""The independent references, by family. Importing them needs their libraries."""

from types import ModuleType

from segzoo.models.vit import reference as vit

REFERENCES: dict[str, ModuleType] = {"vit": vit}
"""Each has `intermediates` and `remarks`, as that of the plain ViT."""
