"""What all readers return: a lazy, read-only mapping of tensor names to numpy arrays."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.errors import ConversionError, EnvironmentFault, IntegrityError, SegzooError
from segzoo.formats.arrays import raw_bytes
from segzoo.formats.source import crc_of
from segzoo.spec import Spec

_LONGEST_NAME = 1000  # characters; published names have some 70
_MOST_FOLD = 32
_MOST_SMALL = 1 << 26
INDEX = ".index.json"
"""How the name of an index of shards ends."""
_SHARD = re.compile(r"-0*(\d+)-of-0*(\d+)\.")
ANEW = "copy or fetch the file again; where its hash is known, segzoo store add tells whether it is whole"


Names = Mapping[str, str]
"""The name of each tensor within its model, to its name in the file."""


@contextmanager
def parsing(where: object) -> Iterator[None]:
    """Turns any error that a parser raises in the block into IntegrityError: the file is damaged.

    The errors are not listed: for one flipped bit or another, zipfile and numpy raise a dozen kinds.
    """
    try:
        yield
    except (SegzooError, PermissionError):
        raise
    except MemoryError as error:
        raise EnvironmentFault(f"{where}: not enough memory to read it") from error
    except Exception as error:
        raise IntegrityError(f"{where}: damaged: {str(error) or type(error).__name__}", hint=ANEW) from error


def refuse_more_than_holds(where: object, claimed: int, size: int) -> None:
    """Raises IntegrityError where a file's tensors would fill far more memory than the file has bytes.

    Deflated zeros and tensors that share a storage can claim a thousand times the file. Weights do not shrink: `size` bytes may make 32
    times as many, and 64 MB beside, for small files of zeros.
    """
    if claimed > _MOST_FOLD * size + _MOST_SMALL:
        raise IntegrityError(f"{where}: a file of {size} bytes claims tensors of {claimed} bytes, which no weights do", hint="do not trust this file")


def refuse_long_names(where: object, names: Iterable[str]) -> None:
    """Raises IntegrityError for a tensor whose name is so long that to look at it would take longer than to read the file."""
    if long := next((name for name in names if len(name) > _LONGEST_NAME), None):
        raise IntegrityError(f"{where}: a tensor has a name of {len(long)} characters, {long[:40]!a}...", hint="do not trust this file")


@contextmanager
def naming(path: Path, name: str | None = None) -> Iterator[None]:
    """Puts a file's name, by default its path, before the message of a ConversionError from code that knows no files."""
    try:
        yield
    except ConversionError as error:
        hint = error.hint
        if shard := shard_of(path):
            index = next(path.parent.glob(f"*{INDEX}"), None)
            hint = f"it is {shard}: {f'name their index, {index}' if index else 'put all shards and their index into one folder, and name that'}"
        raise ConversionError(f"{name or path}: {error.message.removeprefix(f'{path}: ')}", hint) from error


def shard_of(path: Path) -> str:
    """ "shard 2 of 3" for a file whose name says so, else nothing."""
    found = _SHARD.search(path.name)
    return f"shard {found[1]} of {found[2]}" if found and int(found[2]) > 1 else ""


@dataclass(frozen=True)
class Weights(Mapping[str, np.ndarray]):
    """An opened file. `specs` is known at once; `weights[name]` reads that tensor into memory of its own.

    `notes` says where in the file the tensors were found, and what was left out. `metadata` holds what the file says
    of itself (for `.pth`: numbers and texts of its `meta`). `meta` is the whole `meta` of a `.pth`, as data; see `pickled.content`.
    `place` is where in a checkpoint the tensors are, such as `teacher`. `strange` has tensors whose numbers segzoo cannot tell, such as
    sparse ones, and why: reading one raises ConversionError. `files` are the shards, where `path` is an index of such. `piecewise` is the
    CRC-32 of a tensor's bytes, read a piece at a time; None for a tensor whose bytes are not in order in the file.
    """

    path: Path
    format: str
    specs: Mapping[str, Spec]
    read: Callable[[str], np.ndarray]
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    strange: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    piecewise: Callable[[str], int | None] = lambda name: None

    @property
    def size(self) -> int:
        """Bytes of the file, or of all shards."""
        return sum(path.stat().st_size for path in self.files or (self.path,))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.specs:
            raise KeyError(name)
        if name in self.strange:
            raise ConversionError(f"{self.path}: tensor '{name}': {self.strange[name]}, of which segzoo cannot tell the numbers")
        with parsing(f"{self.path}: tensor '{name}'"):
            return self.read(name)

    def crc(self, name: str) -> int:
        """The CRC-32 of a tensor's bytes, in order. It needs no memory for the tensor where the file has them so."""
        with parsing(f"{self.path}: tensor '{name}'"):
            found = self.piecewise(name)
        return crc_of(raw_bytes(self[name])) if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self.specs


def renamed(opened: Weights, names: Names, note: str) -> Weights:
    """Tensors of a file under other names, and no others."""
    specs = {inner: opened.specs[name] for inner, name in names.items()}
    strange = {inner: opened.strange[name] for inner, name in names.items() if name in opened.strange}
    return replace(
        opened,
        specs=specs,
        strange=strange,
        read=lambda inner: opened.read(names[inner]),
        piecewise=lambda inner: opened.piecewise(names[inner]),
        notes=(*opened.notes, note),
    )
