"""`.pth` read without torch: both formats of torch.save, as data.

`torch.load(weights_only=True)` refuses published checkpoints whose `meta` holds numpy scalars or
mmengine's HistoryBuffer. Here such objects do no harm: only tensors are built. Formats as in torch 2.13
`torch/serialization.py`: zip (since 1.6), and before that five pickles followed by raw storages.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats import pickled, zips
from segzoo.formats.arrays import dtype_of
from segzoo.formats.nests import as_dict, some, state_dict
from segzoo.formats.pickled import Bounded, Call, Global
from segzoo.formats.rebuilt import BEYOND, LONGEST, Held, Storage, Stored, Strange, Tensor, build, plain_number, storage
from segzoo.formats.source import Source
from segzoo.formats.torchzip import write
from segzoo.formats.weights import ANEW, Weights, refuse_more_than_holds
from segzoo.spec import Spec

__all__ = ["is_legacy", "open_pth", "write"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a storage lies in the file, and the member of the zip that it is, if that has a checksum."""

    begin: int
    length: int
    member: zips.Member | None = None


Blocks = Mapping[str, _Block]
"""The storages, by their keys."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What a file holds: the pickled object, the calls that were left undone in it, its storages."""

    root: Any
    undone: set[str]
    blocks: Blocks
    notes: tuple[str, ...] = ()


def is_legacy(head: bytes) -> bool:
    """Whether a file begins with the magic number of the format before zip."""
    return head[2:14] == b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")


def open_pth(source: Source, at: str | None = None) -> Weights:
    """The tensors of a checkpoint, wherever in it the state dict is, or at the place `at`. Nothing in the file is run.

    Raises IntegrityError, ConversionError.
    """
    path = source.path
    with path.open("rb") as file:  # as torch does; zipfile.is_zipfile looks at the end, where a legacy file may hold anything
        zipped = file.read(4) == b"PK\x03\x04"
    checkpoint = _read_zip(source) if zipped else _read_legacy(source)
    root = as_dict(checkpoint.root)
    if isinstance(root, Call):
        what = root.what if isinstance(root.what, Global) else "object"
        raise IntegrityError(
            f"{path}: holds a pickled {what}, not a state dict; opening it would mean running its code",
            hint="where you trust it, load it in its own project and save module.state_dict()",
        )
    tensors, notes, place = state_dict(path, root, Tensor, at)
    notes += [f"not called, though its pickle would: {some(sorted(checkpoint.undone))}"] if checkpoint.undone else []
    notes += checkpoint.notes
    for name, tensor in tensors.items():
        if isinstance(tensor, Stored):
            _check(path, name, tensor)
    refuse_more_than_holds(path, sum(tensor.nbytes for tensor in tensors.values()), source.size)
    plain = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Stored | Held)}
    sound: set[str] = set()
    meta = pickled.content(root.get("meta")) if isinstance(root, dict) else None
    return Weights(
        path,
        "pth",
        {name: tensor.spec for name, tensor in tensors.items()},
        lambda name: _numbers(source, name, plain[name], checkpoint.blocks, sound),
        tuple(notes),
        _plain(meta),
        meta=meta if isinstance(meta, dict) else {},
        place=place,
        strange={name: tensor.what for name, tensor in tensors.items() if isinstance(tensor, Strange)},
        piecewise=lambda name: _crc(source, plain[name], checkpoint.blocks),
    )


def _plain(meta: Any) -> dict[str, str]:
    """The one-line texts and numbers among a checkpoint's `meta`. Long ones are no facts, and a pickle repeats them in two bytes each."""
    entries = meta.items() if isinstance(meta, dict) else ()
    plain = {key: str(value) for key, value in entries if isinstance(key, str) and _short(key) and _short(value)}
    return {key: value for key, value in plain.items() if "\n" not in value}


def _short(value: Any) -> bool:
    return len(value) <= LONGEST if isinstance(value, str) else isinstance(value, float) or (isinstance(value, int) and abs(value) < BEYOND)


def _read_zip(source: Source) -> _Checkpoint:
    """A checkpoint in the zip format."""
    path, members = source.path, zips.members(source)
    root = next(name for name in members if name == "data.pkl" or name.endswith("/data.pkl")).removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise IntegrityError(f"{path}: a TorchScript program, not a checkpoint", hint="save its state_dict() instead")
    storages = {name: member for name, member in members.items() if name.startswith(f"{root}data/")}
    pickle, order = members[f"{root}data.pkl"], members.get(f"{root}byteorder")
    for member in (pickle, *storages.values()):
        if member.deflated:
            raise IntegrityError(f"{path}: member '{member.name}' is compressed, which torch never does")
    unchecked = not any(member.crc for member in members.values() if member.size)
    content = _unchecked if unchecked else zips.content
    if order and (order.size > 16 or content(source, order).tobytes() != b"little"):
        raise _big_endian(path)
    read = pickled.interpret(io.BytesIO(content(source, pickle).data), str(path), build, storage)
    blocks = {
        name.removeprefix(f"{root}data/"): _Block(member.begin, member.size, None if unchecked else member) for name, member in storages.items()
    }
    return _Checkpoint(*read, blocks, ("no checksums in it: torch was told to leave them out, so a flipped bit would not show",) if unchecked else ())


def _unchecked(source: Source, member: zips.Member) -> np.ndarray:
    """The bytes of a stored member of a zip without checksums."""
    return source.read(member.begin, member.size)


def _read_legacy(source: Source) -> _Checkpoint:
    """A checkpoint in the format before zip: magic number, protocol, system, object, storage keys, storages."""
    path, storages = source.path, dict[str, Storage]()

    def persistent(identity: Any) -> Any:
        one = storage(identity)
        storages.setdefault(one.key, one)
        return one

    with path.open("rb") as raw:
        file = Bounded(raw, source.size)
        pickles = [pickled.interpret(file, str(path), build, persistent) for _ in range(5)]
        magic, protocol, system, root, keys = (value for value, _ in pickles)
        if magic != _MAGIC or protocol != _PROTOCOL:
            raise IntegrityError(f"{path}: a protocol other than {_PROTOCOL}")
        if not isinstance(system, dict) or not system.get("little_endian"):
            raise _big_endian(path)
        blocks = _legacy_blocks(path, raw, file.size, keys, storages)
    return _Checkpoint(root, set().union(*(undone for _, undone in pickles)), blocks)


def _legacy_blocks(path: Path, raw: IO[bytes], size: int, keys: Any, storages: Mapping[str, Storage]) -> Blocks:
    """Where the storages lie that follow one another from here, each after its number of elements."""
    blocks = dict[str, _Block]()
    for key in keys:
        if not isinstance(key, str) or key not in storages or key in blocks:
            raise IntegrityError(f"{path}: a storage belongs to no tensor")
        count = raw.read(8)
        length = int.from_bytes(count, "little") * Spec((1,), storages[key].dtype).nbytes
        if len(count) < 8 or raw.tell() + length > size:
            raise IntegrityError(f"{path}: cut short: {size} bytes, but its tensors reach to byte {raw.tell() + length}", ANEW)
        blocks[key] = _Block(raw.tell(), length)
        raw.seek(length, io.SEEK_CUR)
    return blocks


def _big_endian(path: Path) -> IntegrityError:
    return IntegrityError(f"{path}: written on a big-endian machine, which segzoo does not read")


def _check(path: Path, name: str, tensor: Stored) -> None:
    """Compare a tensor's claims with its storage, before anything is read or allocated."""
    where = f"{path}: tensor '{name}'"
    plain = (tensor.offset, *tensor.shape, *tensor.strides)
    if not isinstance(tensor.storage, Storage) or not all(map(plain_number, plain)):
        raise IntegrityError(f"{where}: its description is damaged")
    if len(tensor.shape) != len(tensor.strides):
        raise IntegrityError(f"{where}: {len(tensor.shape)} sizes and {len(tensor.strides)} strides")
    if tensor.span and tensor.offset + tensor.span > tensor.storage.size:
        raise IntegrityError(f"{where}: {list(tensor.shape)} reaches beyond its storage of {tensor.storage.size} elements")


def _numbers(source: Source, name: str, tensor: Stored | Held, blocks: Blocks, sound: set[str]) -> np.ndarray:
    """The numbers of a tensor."""
    if isinstance(tensor, Held):
        return tensor.numbers()
    found = _array(source, name, tensor, blocks, sound)
    found = np.negative(found) if tensor.negative else found
    return np.conjugate(found) if tensor.conjugate else found


def _crc(source: Source, tensor: Stored | Held, blocks: Blocks) -> int | None:
    """The CRC-32 of a tensor's bytes; None unless they fill its storage, in order. Raises IntegrityError if the zip gives another one."""
    if not isinstance(tensor, Stored) or (block := blocks.get(tensor.storage.key)) is None:
        return None
    if tensor.span * dtype_of(tensor.storage.dtype).itemsize != block.length or not _in_order(tensor):
        return None
    found = source.crc(block.begin, block.length)
    if block.member:
        zips.refuse_other_crc(source, block.member, found)
    return found


def _in_order(tensor: Stored) -> bool:
    """Whether the storage has the tensor's numbers as they are, and in order."""
    ordered = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    return list(tensor.strides) == ordered and not (tensor.offset or tensor.storage.begin or tensor.negative or tensor.conjugate)


def _array(source: Source, name: str, tensor: Stored, blocks: Blocks, sound: set[str]) -> np.ndarray:
    """The numbers in a tensor's storage. `sound` has the storages whose checksum was looked at: one that several tensors share is looked at once."""
    storage, where = tensor.storage, f"{source.path}: tensor '{name}'"
    dtype = dtype_of(storage.dtype)
    if not tensor.span:
        return np.empty(tensor.shape, dtype)
    if storage.key not in blocks:
        raise IntegrityError(f"{where}: its storage {storage.key!r} is not in the file")
    block = blocks[storage.key]
    if (storage.begin + storage.size) * dtype.itemsize > block.length:
        raise IntegrityError(f"{where}: its storage holds {block.length} bytes, {storage.size * dtype.itemsize} were promised")
    begin, length = (storage.begin + tensor.offset) * dtype.itemsize, tensor.span * dtype.itemsize
    unseen = block.member if storage.key not in sound else None
    if unseen and length == block.length:
        flat = zips.content(source, unseen)
    else:
        if unseen:
            zips.refuse_other_crc(source, unseen, source.crc(block.begin, block.length))
        flat = source.read(block.begin + begin, length)
    sound.add(storage.key)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return np.ndarray(tensor.shape, dtype, flat.data, 0, strides)
