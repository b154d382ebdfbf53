"""An entry's own file, held to what the manifest says of it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segzoo.conversion.axes import measure
from segzoo.conversion.checkpoint import Read
from segzoo.conversion.detect import Found, detect
from segzoo.errors import ConversionError
from segzoo.formats import Weights, open_weights
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.entries import Entry, Model, geometry_of

if TYPE_CHECKING:
    pass


def read(entry: Entry, path: Path) -> Read:
    """An entry's file, opened and measured. Raises ConversionError where layout, geometry or dtype are not the manifest's."""
    artifact = entry.artifact
    opened = open_weights(path)
    grid = entry.geometry.grid
    found = detect(opened.specs, positions=grid * grid)
    if artifact.layout is not None and found.layout.name != artifact.layout:
        raise ConversionError(f"layout '{found.layout.name}', the manifest says '{artifact.layout}'")
    measured = measured_as(opened, found, entry)
    if measured != (expected := geometry_of(entry)):
        raise ConversionError(f"geometry differs from the manifest: {_differences(expected, measured)}")
    if others := sorted({spec.dtype for spec in opened.specs.values()} - {artifact.dtype}):
        raise ConversionError(f"dtype {', '.join(others)}, the manifest says {artifact.dtype}")
    return Read(opened, found, measured)


def measured_as(opened: Weights, found: Found, entry: Entry) -> Geometry:
    """The geometry of a file, with the heads that an entry has: those of a decoder show in no tensor."""
    measured, _ = measure(found.rules, opened.specs, found.depths, entry.geometry.heads)
    if measured.decoder is None or not isinstance(entry, Model):
        return measured
    return replace(measured, decoder=replace(measured.decoder, heads=entry.decoder.heads))


def _differences(expected: Geometry, measured: Geometry) -> str:
    wanted, found = asdict(expected), asdict(measured)
    return "; ".join(f"{name} {found[name]}, expected {wanted[name]}" for name in wanted if wanted[name] != found[name])
