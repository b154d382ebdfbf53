"""torch's zip format written without torch: streamed, deterministic, each storage on a multiple of 64 bytes.

The alignment is what `torch.load(mmap=True)` wants. Format as in torch 2.13 `torch/serialization.py`.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

import numpy as np

from segzoo.errors import ConversionError
from segzoo.formats.arrays import raw_bytes
from segzoo.formats.stored import StoredZip
from segzoo.spec import Spec

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
STORAGE_OF = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}
_ALIGNMENT = 64
_ROOT = "archive"


def write(file: IO[bytes], specs: Mapping[str, Spec], pairs: Iterable[tuple[str, np.ndarray]], metadata: Mapping[str, str]) -> None:
    """Write a bare state dict in torch's zip format, one tensor at a time; the same tensors give the same bytes.

    `metadata` has no place in this format and is left out.
    """
    archive = StoredZip(file)
    archive.add(f"{_ROOT}/data.pkl", [_state_pickle(specs)], _ALIGNMENT)
    for name, said in {".format_version": b"1", ".storage_alignment": str(_ALIGNMENT).encode(), "byteorder": b"little"}.items():
        archive.add(f"{_ROOT}/{name}", [said], _ALIGNMENT)
    for index, (_, array) in enumerate(pairs):
        archive.add(f"{_ROOT}/data/{index}", [raw_bytes(array)], _ALIGNMENT)
    archive.add(f"{_ROOT}/version", [b"3\n"], _ALIGNMENT)
    archive.close()


def _state_pickle(specs: Mapping[str, Spec]) -> bytes:
    """The pickle (protocol 2) of an OrderedDict of contiguous tensors, storage N for the Nth."""
    return b"".join([b"\x80\x02", _name("collections", "OrderedDict"), b")R(", *_entries(specs), b"u."])


def _entries(specs: Mapping[str, Spec]) -> Iterator[bytes]:
    for index, (name, spec) in enumerate(specs.items()):
        if spec.dtype not in STORAGE_OF:
            raise ConversionError(f"{name}: a .pth cannot hold dtype {spec.dtype}")
        storage = [_text("storage"), _name("torch", STORAGE_OF[spec.dtype]), _text(str(index)), _text("cpu"), _int(math.prod(spec.shape))]
        strides = [math.prod(spec.shape[axis + 1 :]) for axis in range(len(spec.shape))]
        yield _text(name) + _name("torch._utils", "_rebuild_tensor_v2") + b"((" + b"".join(storage) + b"tQ"
        yield _int(0) + _ints(spec.shape) + _ints(strides) + b"\x89" + _name("collections", "OrderedDict") + b")RtR"


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)


def _ints(numbers: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(_int, numbers)) + b"t"
