"""A zoo entry's file, opened and held to what the manifest says of its layout, geometry and dtype."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from segzoo.detection import Found, detect
from segzoo.errors import ConversionError
from segzoo.formats import Weights, open_weights
from segzoo.geometry import Geometry, measure
from segzoo.zoo import Backbone, Entry, Model


@dataclass(frozen=True)
class Read:
    """A file of weights that is what it should be."""

    opened: Weights
    found: Found
    geometry: Geometry


def read(entry: Entry, path: Path) -> Read:
    """An entry's file, opened and measured. Raises ConversionError where layout, geometry or dtype are not the manifest's."""
    artifact, decoder = entry.artifact, entry.decoder if isinstance(entry, Model) else None
    opened = open_weights(path)
    grid = entry.geometry.grid
    found = detect(opened.specs, positions=grid * grid)
    if artifact.layout is not None and found.layout.name != artifact.layout:
        raise ConversionError(f"layout '{found.layout.name}', the manifest says '{artifact.layout}'")
    heads = entry.geometry.heads if isinstance(entry, Backbone) else entry.backbone.heads
    measured, _ = measure(found.rules, opened.specs, found.depths, heads)
    if measured.decoder is not None and decoder is not None:  # its heads show in no tensor
        measured = replace(measured, decoder=replace(measured.decoder, heads=decoder.heads))
    expected = entry.geometry.geometry(decoder)
    if measured != expected:
        raise ConversionError(f"geometry differs from the manifest: {_differences(expected, measured)}")
    if others := sorted({spec.dtype for spec in opened.specs.values()} - {artifact.dtype}):
        raise ConversionError(f"dtype {', '.join(others)}, the manifest says {artifact.dtype}")
    return Read(opened, found, measured)


def _differences(expected: Geometry, measured: Geometry) -> str:
    wanted, found = asdict(expected), asdict(measured)
    return "; ".join(f"{name} {found[name]}, expected {wanted[name]}" for name in wanted if wanted[name] != found[name])
