"""Whether an entry's own file is what the manifest says: it is opened, measured and compared."""

from dataclasses import asdict, replace
from pathlib import Path

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.conversion.run import check_buffers
from segzoo.errors import ConversionError
from segzoo.layouts.family import differences, told
from segzoo.manifest.entries import Entry, geometry_of


def open_entry(entry: Entry, path: Path) -> Checkpoint:
    """An entry's file, opened and measured. Raises ConversionError where layout, geometry or dtype differ from the manifest."""
    artifact, expected = entry.artifact, geometry_of(entry)
    read = identify(path, positions=getattr(expected, "positions", None))
    if artifact.layout is not None and read.found.layout.name != artifact.layout:
        raise ConversionError(f"layout '{read.found.layout.name}', the manifest says '{artifact.layout}'")
    read = completed(read, entry)
    if read.geometry != expected:
        raise ConversionError(f"geometry differs from the manifest: {differences(expected, read.geometry)}")
    if others := [dtype for dtype in read.dtypes if dtype != artifact.dtype]:
        raise ConversionError(f"dtype {', '.join(others)}, the manifest says {artifact.dtype}")
    check_buffers(read.found, read.weights, read.sizes)
    return read


def completed(read: Checkpoint, entry: Entry) -> Checkpoint:
    """A file whose geometry has, from an entry, the sizes that no tensor shows, such as a decoder's attention heads."""
    return replace(read, geometry=told(read.geometry, asdict(geometry_of(entry))))
