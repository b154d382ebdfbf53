"""safetensors: the library reads and validates, segzoo writes.

segzoo writes because the library's writer wants every tensor in memory, ignores the strides of a
transposed array (safetensors #825) and orders metadata at random (#584).
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from segzoo.errors import ConversionError, IntegrityError
from segzoo.formats.weights import ANEW, Weights
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
_MOST_HEADER = 100_000_000  # the format's own limit


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so can be safetensors: an eight-byte header length, then JSON."""
    return len(head) > 9 and 2 <= int.from_bytes(head[:8], "little") <= _MOST_HEADER and head[8:9] == b"{"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice; which one is meant cannot be known")
    return found


def open_safetensors(path: Path) -> Weights:
    """The tensors of a safetensors file, memory-mapped. The library has checked that its header is sound and the file whole."""
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise IntegrityError(f"{path}: a damaged safetensors file: {error}", ANEW) from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    header.pop("__metadata__", None)
    if unknown := sorted({entry["dtype"] for entry in header.values()} - set(_DTYPES)):
        raise IntegrityError(f"{path}: dtypes that segzoo does not read: {', '.join(unknown)}")
    specs = {name: Spec(tuple(entry["shape"]), _DTYPES[entry["dtype"]]) for name, entry in header.items()}

    def read(name: str) -> np.ndarray:
        dtype = np.dtype(ml_dtypes.bfloat16 if specs[name].dtype == "bfloat16" else specs[name].dtype)
        if specs[name].nbytes == 0:
            return np.empty(specs[name].shape, dtype)
        start = 8 + length + header[name]["data_offsets"][0]
        return np.memmap(path, np.uint8, "r", start, (specs[name].nbytes,)).view(dtype).reshape(specs[name].shape)

    return Weights(path, "safetensors", specs, read, metadata=metadata)


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
