"""npz: numpy arrays in a zip. Every member must fit its checksum.

Refused are object arrays (they need pickle), and members whose size is not what their header says.
"""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats import zips
from segzoo.formats.arrays import raw_bytes
from segzoo.formats.source import Source
from segzoo.formats.stored import StoredZip
from segzoo.formats.weights import Weights, parsing, refuse_more_than_holds
from segzoo.spec import Spec

CUT_SHORT = "a zip file that is cut short or damaged"
_HEADER = 1 << 14  # bytes; numpy itself reads headers of 10,000 characters at most
_SIZE = rb"(?:0|[1-9]\d{0,15})"
_USUAL = re.compile(
    rb"\x93NUMPY\x01\0(?P<length>..)\{'descr': '(?P<dtype>[<|](?:[fiu][1248]|b1))', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>|%s,|%s(?:, %s)+)\), \} *\n" % (_SIZE, _SIZE, _SIZE),
    re.DOTALL,
)
"""A header as numpy itself writes it, for the plain dtypes. numpy parses any header as Python, which takes longer than most tensors."""


@dataclass(frozen=True, slots=True)
class _Array:
    member: zips.Member
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    header: int


def kind_of_zip(path: Path) -> str:
    """What a zip is: npz, pth, or words for something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return CUT_SHORT
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "pth"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return f"a zip of something else ({', '.join(names[:3]) or 'nothing'})"


def open_npz(source: Source) -> Weights:
    """The tensors of an npz: names, shapes and dtypes from the members' headers, the numbers when asked for."""
    arrays = {name.removesuffix(".npy"): _array(source, member) for name, member in zips.members(source).items()}
    refuse_more_than_holds(source.path, sum(array.member.size for array in arrays.values()), source.size)
    specs = {name: Spec(array.shape, array.dtype.name) for name, array in arrays.items()}
    return Weights(source.path, "npz", specs, lambda name: _read(source, arrays[name]))


def _array(source: Source, member: zips.Member) -> _Array:
    where = f"{source.path}: member '{member.name}'"
    with parsing(where), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arrays that Python 2 wrote, say
        shape, fortran, dtype, header = _header(zips.head(source, member, _HEADER))
    if dtype.str == "|V2":  # how numpy stores a bfloat16 that it has no name for
        dtype = np.dtype(ml_dtypes.bfloat16)
    if dtype.hasobject:
        raise IntegrityError(
            f"{where}: an object array, which only running its pickle could open", hint="weights are plain numbers; do not trust this file"
        )
    if dtype.kind not in "fiubc" and dtype != ml_dtypes.bfloat16:
        raise IntegrityError(f"{where}: dtype {dtype} is no number")
    if any(size < 0 for size in shape):
        raise IntegrityError(f"{where}: a negative size in shape {list(shape)}")
    claimed = math.prod(shape) * dtype.itemsize
    if header + claimed != member.size:
        raise IntegrityError(f"{where}: its header claims {claimed} bytes, it holds {member.size - header}")
    return _Array(member, dtype, tuple(shape), fortran, header)


def _header(begin: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order and dtype of a member that begins so, and the length of its header. Raises ValueError."""
    usual = _USUAL.match(begin)
    if usual and usual.end() == 10 + int.from_bytes(usual["length"], "little"):
        shape = tuple(int(size) for size in usual["shape"].decode().split(",") if size)
        return shape, usual["fortran"] == b"True", np.dtype(usual["dtype"].decode()), usual.end()
    file = io.BytesIO(begin)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"a .npy of version {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return (*read_header(file), file.tell())


def _read(source: Source, array: _Array) -> np.ndarray:
    flat = zips.content(source, array.member)[array.header :].view(array.dtype)
    if not array.dtype.isnative:  # a Spec has no byte order, and writers expect the native one
        flat = flat.astype(array.dtype.newbyteorder("="))
    return flat.reshape(array.shape, order="F" if array.fortran else "C")


def write(file: IO[bytes], specs: Mapping[str, Spec], pairs: Iterable[tuple[str, np.ndarray]], metadata: Mapping[str, str]) -> None:
    """Write as `numpy.savez` does, one tensor at a time; the same tensors give the same bytes.

    `metadata` has no place in this format and is left out.
    """
    archive = StoredZip(file)
    for name, array in pairs:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        )
        archive.add(f"{name}.npy", [header.getvalue(), raw_bytes(array)])
    archive.close()
