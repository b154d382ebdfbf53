"""npz: numpy arrays in a zip. Stored members are memory-mapped, and every member must fit its checksum.

Refused are duplicate members (numpy takes the last), object arrays (they need pickle), and members whose size
is not what their header says.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats.weights import Weights, parsing
from segzoo.spec import Spec

CUT_SHORT = "a zip file that is cut short or damaged"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Member:
    info: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    header: int


def kind_of_zip(path: Path) -> str:
    """What a zip is: npz, pth, or words for something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError):
        return CUT_SHORT
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "pth"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return f"a zip of something else ({', '.join(names[:3]) or 'nothing'})"


def open_npz(path: Path) -> Weights:
    """The tensors of an npz: names, shapes and dtypes from the members' headers, the numbers when asked for."""
    members: dict[str, _Member] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in members:
                raise IntegrityError(f"{path}: member '{name}' is there twice; which one is meant cannot be known")
            members[name] = _member(path, archive, info)
    specs = {name: Spec(member.shape, member.dtype.name) for name, member in members.items()}
    return Weights(path, "npz", specs, lambda name: _read(path, name, members[name]))


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    where = f"{path}: member '{info.filename}'"
    with parsing(where), archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"a .npy of version {version}")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        header = file.tell()
    if dtype.str == "|V2":  # how numpy stores a bfloat16 that it has no name for
        dtype = np.dtype(ml_dtypes.bfloat16)
    if dtype.hasobject:
        raise IntegrityError(
            f"{where}: an object array, which only running its pickle could open", hint="weights are plain numbers; do not trust this file"
        )
    if dtype.kind not in "fiub" and dtype != ml_dtypes.bfloat16:
        raise IntegrityError(f"{where}: dtype {dtype} is no number")
    if any(size < 0 for size in shape):
        raise IntegrityError(f"{where}: a negative size in shape {list(shape)}")
    claimed = math.prod(shape) * dtype.itemsize
    if header + claimed != info.file_size:
        raise IntegrityError(f"{where}: its header claims {claimed} bytes, it holds {info.file_size - header}")
    return _Member(info, dtype, tuple(shape), fortran, header)


def _read(path: Path, name: str, member: _Member) -> np.ndarray:
    if member.info.compress_type == zipfile.ZIP_STORED:
        raw: np.ndarray = np.memmap(path, np.uint8, "r", data_offset(path, member.info), (member.info.file_size,))
        if zlib.crc32(raw.data) != member.info.CRC:
            raise IntegrityError(f"{path}: member '{name}' does not have the checksum that the zip gives for it")
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member.info) as file:
            raw = np.frombuffer(file.read(member.info.file_size), np.uint8)  # bounded by the size checked above
    flat = raw[member.header :].view(member.dtype)
    if not member.dtype.isnative:  # a Spec has no byte order, and writers expect the native one
        flat = flat.astype(member.dtype.newbyteorder("="))
    return flat.reshape(member.shape, order="F" if member.fortran else "C")


def data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin. The local header has to be read: its lengths differ from the directory's."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
    if local[:4] != b"PK\x03\x04":
        raise IntegrityError(f"{path}: member '{info.filename}' is not where the zip says")
    return info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")


def write(file: IO[bytes], specs: Mapping[str, Spec], pairs: Iterable[tuple[str, np.ndarray]], metadata: Mapping[str, str]) -> None:
    """Write as `numpy.savez` does, one tensor at a time; the same tensors give the same bytes.

    `metadata` has no place in this format and is left out.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in pairs:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            )
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(info, "w", force_zip64=specs[name].nbytes >= 2**31) as member:
                member.write(header.getvalue())
                member.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
