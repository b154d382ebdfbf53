"""Whether an entry's own file is what the manifest says: it is opened, measured and compared."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from segzoo.conversion.checkpoint import Checkpoint, identified
from segzoo.conversion.run import check_buffers
from segzoo.conversion.said import plain, shown
from segzoo.errors import ConversionError
from segzoo.formats import open_weights
from segzoo.layouts import explicit
from segzoo.layouts.family import Geometry, differences, told
from segzoo.manifest.entries import Entry, Model, geometry_of


def open_entry(entry: Entry, path: Path) -> Checkpoint:
    """An entry's file, opened and measured. Raises ConversionError where layout, geometry or dtype differ from the manifest."""
    artifact, expected = entry.artifact, geometry_of(entry)
    read = identified(open_weights(path), layout=explicit(artifact.layout), positions=getattr(expected, "positions", None))
    if artifact.layout is not None and read.found.layout.name != artifact.layout:
        raise ConversionError(f"layout '{read.found.layout.name}', the manifest says '{artifact.layout}'")
    read = completed(read, entry)
    expected = _binary(expected, read.geometry)
    if read.geometry != expected:
        raise ConversionError(f"geometry differs from the manifest: {differences(expected, read.geometry)}")
    if others := [dtype for dtype in read.dtypes if dtype != artifact.dtype]:
        raise ConversionError(f"dtype {', '.join(others)}, the manifest says {artifact.dtype}")
    check_buffers(read.found, read.weights, read.sizes)
    return read


def _binary(expected: Geometry, read: Geometry) -> Geometry:
    """The expected geometry. A head that a manifest gives two classes may have one output: it tells the second from the first."""
    mine, theirs = expected.decoder, read.decoder
    if mine is None or theirs is None or (mine.classes, theirs.classes) != (2, 1):
        return expected
    return replace(expected, decoder=replace(mine, classes=1))


def completed(read: Checkpoint, entry: Entry) -> Checkpoint:
    """A file whose geometry has, from an entry, the sizes that no tensor shows, such as a decoder's attention heads."""
    return replace(read, geometry=told(read.geometry, asdict(geometry_of(entry))))


def disagreements(read: Checkpoint, entry: Entry) -> Iterator[str]:
    """Where a file says something else of itself than the manifest does, whose word is taken."""
    parts = {"backbone": entry.backbone if isinstance(entry, Model) else entry.geometry}
    if isinstance(entry, Model):
        parts |= {"neck": entry.neck, "head": entry.head, "protocol": entry.protocol}
    for name, fact in read.said.facts.items():
        section, _, side = name.partition(".")
        value = entry.eps if name == "backbone.eps" else getattr(parts.get(section), side, None)
        if value is None and section == "backbone":
            value = read.family.usual(read.geometry).get(side)
        if value is not None and side != "image" and plain(_one(value)) != plain(_one(fact.value)):
            yield f"{name}: {shown(value)} in the manifest, which is used, but {shown(fact.value)} by {fact.source}"


def _one(value: object) -> object:
    return value[0] if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] else value
