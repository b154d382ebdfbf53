"""`.pth` read without torch: both formats of torch.save, as data.

`torch.load(weights_only=True)` refuses published checkpoints whose `meta` holds numpy scalars or
mmengine's HistoryBuffer. Here such objects do no harm: only tensors are built. Formats as in torch 2.13
`torch/serialization.py`: zip (since 1.6), and before that five pickles followed by raw storages.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from segzoo.errors import IntegrityError
from segzoo.formats import pickled
from segzoo.formats.nests import some, state_dict
from segzoo.formats.npz import data_offset
from segzoo.formats.pickled import Bounded, Call, Global
from segzoo.formats.torchzip import STORAGE_OF, STORAGES, write
from segzoo.formats.weights import ANEW, Weights
from segzoo.spec import Spec

__all__ = ["is_legacy", "open_pth", "write"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


@dataclass(frozen=True, slots=True)
class _Storage:
    """A block of numbers that the pickle points to. `begin` is its first element, where it is a view of a larger block."""

    key: str
    dtype: str
    size: int
    begin: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.storage.dtype)


Blocks = Mapping[str, tuple[int, int]]
"""Where each storage lies in the file, by its key: offset and bytes."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What a file holds: the pickled object, the calls that were left undone in it, its storages."""

    root: Any
    undone: set[str]
    blocks: Blocks


def is_legacy(head: bytes) -> bool:
    """Whether a file begins with the magic number of the format before zip."""
    return head[2:14] == b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")


def open_pth(path: Path, at: str | None = None) -> Weights:
    """The tensors of a checkpoint, wherever in it the state dict is, or at the place `at`. Nothing in the file is run.

    Raises IntegrityError, ConversionError.
    """
    with path.open("rb") as file:  # as torch does; zipfile.is_zipfile looks at the end, where a legacy file may hold anything
        zipped = file.read(4) == b"PK\x03\x04"
    checkpoint = _read_zip(path) if zipped else _read_legacy(path)
    root = checkpoint.root
    if isinstance(root, Call):
        what = root.what if isinstance(root.what, Global) else "object"
        raise IntegrityError(
            f"{path}: holds a pickled {what}, not a state dict; opening it would mean running its code",
            hint="where you trust it, load it in its own project and save module.state_dict()",
        )
    tensors, notes, place = state_dict(path, root, _Tensor, at)
    notes += [f"not called, though its pickle would: {some(sorted(checkpoint.undone))}"] if checkpoint.undone else []
    for name, tensor in tensors.items():
        _check(path, name, tensor)
    meta = pickled.content(root.get("meta")) if isinstance(root, dict) else None
    return Weights(
        path,
        "pth",
        {name: tensor.spec for name, tensor in tensors.items()},
        lambda name: _array(path, name, tensors[name], checkpoint.blocks),
        tuple(notes),
        _plain(meta),
        meta=meta if isinstance(meta, dict) else {},
        place=place,
    )


def _plain(meta: Any) -> dict[str, str]:
    """The one-line texts and numbers among a checkpoint's `meta`."""
    entries = meta.items() if isinstance(meta, dict) else ()
    plain = {key: str(value) for key, value in entries if isinstance(key, str) and isinstance(value, str | int | float)}
    return {key: value for key, value in plain.items() if "\n" not in value}


def _read_zip(path: Path) -> _Checkpoint:
    """A checkpoint in the zip format."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise IntegrityError(f"{path}: a member is there twice; which one is meant cannot be known")
        root = next(name for name in names if name == "data.pkl" or name.endswith("/data.pkl")).removesuffix("data.pkl")
        if f"{root}constants.pkl" in names:
            raise IntegrityError(f"{path}: a TorchScript program, not a checkpoint", hint="save its state_dict() instead")
        if f"{root}byteorder" in names:
            with archive.open(f"{root}byteorder") as member:
                if member.read(16) != b"little":
                    raise _big_endian(path)
        blocks = _zip_blocks(path, archive, f"{root}data/")
        pickle = archive.getinfo(f"{root}data.pkl")
        if pickle.compress_type != zipfile.ZIP_STORED:
            raise IntegrityError(f"{path}: data.pkl is compressed, which torch never does")
        file = Bounded(io.BytesIO(archive.read(pickle)), pickle.file_size)
    return _Checkpoint(*pickled.interpret(file, str(path), _build, _storage), blocks)


def _zip_blocks(path: Path, archive: zipfile.ZipFile, folder: str) -> Blocks:
    blocks = {}
    for info in archive.infolist():
        if info.filename.startswith(folder):
            if info.compress_type != zipfile.ZIP_STORED:
                raise IntegrityError(f"{path}: storage {info.filename} is compressed, which torch never does")
            blocks[info.filename.removeprefix(folder)] = (data_offset(path, info), info.file_size)
    return blocks


def _read_legacy(path: Path) -> _Checkpoint:
    """A checkpoint in the format before zip: magic number, protocol, system, object, storage keys, storages."""
    storages: dict[str, _Storage] = {}

    def persistent(identity: Any) -> Any:
        storage = _storage(identity)
        storages.setdefault(storage.key, storage)
        return storage

    with path.open("rb") as raw:
        file = Bounded(raw, path.stat().st_size)
        pickles = [pickled.interpret(file, str(path), _build, persistent) for _ in range(5)]
        magic, protocol, system, root, keys = (value for value, _ in pickles)
        if magic != _MAGIC or protocol != _PROTOCOL:
            raise IntegrityError(f"{path}: a protocol other than {_PROTOCOL}")
        if not isinstance(system, dict) or not system.get("little_endian"):
            raise _big_endian(path)
        blocks = _legacy_blocks(path, raw, file.size, keys, storages)
    return _Checkpoint(root, set().union(*(undone for _, undone in pickles)), blocks)


def _legacy_blocks(path: Path, raw: IO[bytes], size: int, keys: Any, storages: Mapping[str, _Storage]) -> Blocks:
    """Where the storages lie that follow one another from here, each after its number of elements."""
    blocks = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise IntegrityError(f"{path}: a storage belongs to no tensor")
        count = raw.read(8)
        length = int.from_bytes(count, "little") * Spec((1,), storages[key].dtype).nbytes
        if len(count) < 8 or raw.tell() + length > size:
            raise IntegrityError(f"{path}: cut short: {size} bytes, but its tensors reach to byte {raw.tell() + length}", ANEW)
        blocks[key] = (raw.tell(), length)
        raw.seek(length, io.SEEK_CUR)
    return blocks


def _big_endian(path: Path) -> IntegrityError:
    return IntegrityError(f"{path}: written on a big-endian machine, which segzoo does not read")


def _storage(identity: Any) -> _Storage:
    """What a persistent id points to: `("storage", type, key, device, size[, (view key, begin, size)])`."""
    kind, storage_type, key, _, size, *view = identity
    if kind != "storage" or not isinstance(storage_type, Global) or not isinstance(key, str):
        raise IntegrityError("the description of a storage is damaged")
    if storage_type.name not in STORAGES:
        raise IntegrityError(f"a storage of type {storage_type}, which segzoo does not read")
    begin = 0
    if view and view[0] is not None:
        _, begin, size = view[0]
    if type(begin) is not int or type(size) is not int or begin < 0:
        raise IntegrityError("the description of a storage is damaged")
    return _Storage(key, STORAGES[storage_type.name], size, begin)


def _build(what: Global, args: Any) -> Any:
    """The value of the few calls that make a tensor or a dict. Any other call stays undone."""
    match str(what):
        case "collections.OrderedDict":
            return pickled.mapping(args[0]) if args else {}
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides, *_ = args
            return _Tensor(storage, offset, tuple(shape), tuple(strides))
        case "torch._utils._rebuild_tensor_v3":
            storage, offset, shape, strides, _, _, dtype, *_ = args
            return _Tensor(_retyped(storage, dtype), offset, tuple(shape), tuple(strides))
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return args[0]
        case "torch.Size":
            return tuple(args[0])
    return Call(what, args)


def _retyped(storage: _Storage, dtype: Global) -> _Storage:
    name = "bool" if dtype.name == "bool" else dtype.name
    if name not in STORAGE_OF:
        raise IntegrityError(f"dtype {dtype}, which segzoo does not read")
    return _Storage(storage.key, name, storage.size // Spec((1,), name).nbytes)


def _check(path: Path, name: str, tensor: _Tensor) -> None:
    """Compare a tensor's claims with its storage, before anything is read or allocated."""
    where = f"{path}: tensor '{name}'"
    plain = (tensor.offset, *tensor.shape, *tensor.strides)
    if not isinstance(tensor.storage, _Storage) or not all(type(number) is int and number >= 0 for number in plain):
        raise IntegrityError(f"{where}: its description is damaged")
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 32:
        raise IntegrityError(f"{where}: {len(tensor.shape)} sizes and {len(tensor.strides)} strides")
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if count and (last >= tensor.storage.size or count > tensor.storage.size):
        raise IntegrityError(f"{where}: {list(tensor.shape)} reaches beyond its storage of {tensor.storage.size} elements")


def _array(path: Path, name: str, tensor: _Tensor, blocks: Blocks) -> np.ndarray:
    storage = tensor.storage
    dtype = np.dtype(ml_dtypes.bfloat16 if storage.dtype == "bfloat16" else storage.dtype)
    if not math.prod(tensor.shape):
        return np.empty(tensor.shape, dtype)
    if storage.key not in blocks:
        raise IntegrityError(f"{path}: tensor '{name}': its storage {storage.key!r} is not in the file")
    begin, length = blocks[storage.key]
    if (storage.begin + storage.size) * dtype.itemsize > length:
        raise IntegrityError(f"{path}: tensor '{name}': its storage holds {length} bytes, {storage.size * dtype.itemsize} were promised")
    block = np.memmap(path, np.uint8, "r", begin + storage.begin * dtype.itemsize, (storage.size * dtype.itemsize,)).view(dtype)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return as_strided(block[tensor.offset :], tensor.shape, strides, writeable=False)
