"""safetensors, read and written. The tests hold the reader against the library's: what the reader takes, the library takes, and reads the same.

segzoo reads because the library maps the file, and takes the last of two tensors of one name in silence. It writes because the library's
writer wants every tensor in memory, ignores the strides of a transposed array (safetensors #825) and orders metadata at random (#584).
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats.arrays import dtype_of
from segzoo.formats.source import Source
from segzoo.formats.weights import ANEW, Weights
from segzoo.json_in import parse_json
from segzoo.spec import Spec

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_CODES = {name: code for code, name in _DTYPES.items()}
_READ_ONLY = {
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "C64": "complex64"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2": "float8_e5m2", "F8_E5M2FNUZ": "float8_e5m2fnuz"},
    "F8_E8M0": "float8_e8m0fnu",
}
_PACKED = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of a number, where they are no whole bytes."""
_DTYPES |= _READ_ONLY | {code: code for code in _PACKED}
_MOST_HEADER = 1 << 25  # bytes, for some 300,000 tensors; the format's own limit of 100 MB takes a minute and gigabytes to parse
_MOST_AXES = 32


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so can be safetensors: an eight-byte header length, then JSON."""
    return len(head) > 9 and 2 <= int.from_bytes(head[:8], "little") <= _MOST_HEADER and head[8:9] == b"{"


def open_safetensors(source: Source) -> Weights:
    """The tensors of a safetensors file. Its header must describe every byte behind it once, in order, as the format wants."""
    path = source.path
    length = int.from_bytes(source.read(0, 8).tobytes(), "little")
    if length > _MOST_HEADER or 8 + length > source.size:
        raise IntegrityError(f"{path}: its header claims {length} bytes, of {source.size} in the file and {_MOST_HEADER} at most", ANEW)
    header = parse_json(source.read(8, length).tobytes(), where=f"{path}: header", limit=_MOST_HEADER, hint=ANEW)
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise IntegrityError(f"{path}: header: expected an object of tensors, with metadata that is text", ANEW)
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    _refuse_gaps(path, entries, source.size - 8 - length)
    specs = {name: spec for name, (spec, _, _) in entries.items()}

    def read(name: str) -> np.ndarray:
        spec, begin, _ = entries[name]
        return source.read(8 + length + begin, spec.nbytes).view(dtype_of(spec.dtype)).reshape(spec.shape)

    def piecewise(name: str) -> int:
        spec, begin, _ = entries[name]
        return source.crc(8 + length + begin, spec.nbytes)

    strange = {name: f"numbers of {_PACKED[spec.dtype]} bits" for name, spec in specs.items() if spec.dtype in _PACKED}
    return Weights(path, "safetensors", specs, read, metadata=metadata, strange=strange, piecewise=piecewise)


def _entry(path: Path, name: str, entry: Any) -> tuple[Spec, int, int]:
    """What the header says of one tensor: its spec, and where its bytes begin and end behind the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _fault(path, name, "expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _fault(path, name, f"a dtype that segzoo does not read: {str(dtype)[:20]}")
    if not _whole(shape) or not _whole(offsets):
        raise _fault(path, name, "expected whole numbers for its shape and its offsets")
    if len(shape) > _MOST_AXES or len(offsets) != 2:
        raise _fault(path, name, f"{len(shape)} sizes and {len(offsets)} offsets")
    spec = Spec(tuple(shape), _DTYPES[dtype])
    begin, end = offsets
    nbytes = -(-math.prod(shape) * _PACKED[dtype] // 8) if dtype in _PACKED else spec.nbytes
    if end - begin != nbytes:
        raise _fault(path, name, f"{nbytes} bytes by its shape, {end - begin} by its offsets")
    return spec, begin, end


def _fault(path: Path, name: str, what: str) -> IntegrityError:
    return IntegrityError(f"{path}: tensor '{name[:100]}': {what}", ANEW)


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, list) and set(map(type, numbers)) <= {int} and min(numbers, default=0) >= 0


def _refuse_gaps(path: Path, entries: Mapping[str, tuple[Spec, int, int]], size: int) -> None:
    """Raises IntegrityError where tensors share bytes, leave some out, or do not end where the file ends."""
    end = 0
    for name, (_, begin, after) in sorted(entries.items(), key=lambda one: one[1][1:]):
        if begin != end:
            raise _fault(path, name, f"begins at byte {begin}, expected {end}")
        end = after
    if end != size:
        raise IntegrityError(f"{path}: its tensors are {end} bytes, in the file are {size}", ANEW)


def write(file: IO[bytes], specs: Mapping[str, Spec], pairs: Iterable[tuple[str, np.ndarray]], metadata: Mapping[str, str]) -> None:
    """Write the header from the specs, then one tensor at a time; the same tensors give the same bytes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, spec in specs.items():
        if spec.dtype not in _CODES:
            raise ConversionError(f"{name}: safetensors cannot hold dtype {spec.dtype}")
        header[name] = {"dtype": _CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": [offset, offset + spec.nbytes]}
        offset += spec.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in pairs:
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
