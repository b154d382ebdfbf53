"""The names and shapes of the tensors that a file of true size has, by the same tables that read it. The numbers are a bench's own."""

from pathlib import Path

from segzoo.layouts import LAYOUTS
from segzoo.layouts.dimensions import shape_of
from segzoo.layouts.extent import shown
from segzoo.layouts.family import Geometry
from segzoo.manifest.document import load_manifest, packaged
from segzoo.manifest.entries import Entry


def shapes(family: str, layout: str, geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a file of this layout and geometry. Raises ValueError where the layout has no place for such a model."""
    table = LAYOUTS[family][layout]
    found = shown(table, geometry)
    if found is None:
        raise ValueError(f"layout '{layout}' has no place for {geometry}")
    prefix = table.decoder_prefix or "" if geometry.decoder else ""
    return {key: shape_of(rule.native, found.axes, len(rule.holds)) for key, rule in table.expand(prefix, found.depths, found.sections).items()}


def entry_of(name: str, zoo: str | None = None) -> Entry:
    """The model or backbone of this name in a manifest, by default the shipped one. Raises KeyError for another name."""
    return load_manifest(Path(zoo) if zoo else packaged("zoo.yaml")).entries[name]
