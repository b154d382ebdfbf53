"""Where a run lies: a folder, or an address that fsspec knows, such as s3://bucket/run. Files appear whole or not at all.

Object stores write whole objects only, and so do we: a name is written once, from bytes that are complete, and never changed in its place.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from segzoo.atomic import replacing, sweep, sweep_once
from segzoo.errors import EnvironmentFault, UsageError
from segzoo.extras import require

_AT_ONCE = 1000  # files of an object store that are read together


class Place(Protocol):
    """A folder of files by name. `folder` is where it is on this machine, None where it is elsewhere."""

    address: str
    folder: Path | None

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none. Raises EnvironmentFault."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all. Raises EnvironmentFault."""

    def bring(self, path: Path, name: str) -> None:
        """Move a finished file of this machine here. Raises EnvironmentFault."""

    def names(self, below: str) -> Iterator[str]:
        """The names of all files below a folder, without those that are not finished. Raises EnvironmentFault."""

    def contents(self, below: str) -> Iterator[tuple[str, bytes]]:
        """The names and bytes of all finished files below a folder. One that goes meanwhile is left out. Raises EnvironmentFault."""

    def sweep(self, below: str) -> None:
        """Remove what killed processes have not finished."""


def place_of(address: str) -> Place:
    """The place of an address. Raises UsageError for a file, EnvironmentFault where fsspec is needed and not here."""
    if re.match(r"[a-z][a-z0-9+.-]+://", address) and not address.startswith("file://"):
        return Remote(address)
    folder = Path(address.removeprefix("file://")).absolute()
    if folder.is_file():
        raise UsageError(f"{address}: is a file, not the folder of a run")
    return Local(folder)


class Local:
    """A folder of this machine, or of a file system that several machines share."""

    def __init__(self, folder: Path):
        self.folder: Path | None = folder
        self.address, self._folder = str(folder), folder

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EnvironmentFault(f"{self._folder / name}: not readable: {error.strerror}") from error

    def write(self, name: str, data: bytes) -> None:
        with replacing(self._folder / name) as part:
            part.write_bytes(data)

    def bring(self, path: Path, name: str) -> None:
        target = self._folder / name
        if path != target:
            sweep_once(target.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)

    def names(self, below: str) -> Iterator[str]:
        try:
            for folder, _, files in os.walk(self._folder / below, onerror=_refuse):
                inside = Path(folder).relative_to(self._folder).as_posix()
                yield from (f"{inside}/{file}" for file in files if not file.startswith("."))
        except FileNotFoundError:
            return

    def contents(self, below: str) -> Iterator[tuple[str, bytes]]:
        yield from ((name, data) for name in self.names(below) if (data := self.read(name)) is not None)

    def sweep(self, below: str) -> None:
        for folder, _, _ in os.walk(self._folder / below):
            sweep(Path(folder))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise EnvironmentFault(f"{error.filename}: may not be read: {error.strerror}") from error


class Remote:
    """A folder of an object store, or of whatever else fsspec knows."""

    def __init__(self, address: str):
        require("fsspec")
        import fsspec

        self.folder: Path | None = None
        self.address = address.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise EnvironmentFault(f"{address}: {error}", hint="fsspec names the package that this kind of address needs") from error

    def read(self, name: str) -> bytes | None:
        with self._asking(name), suppress(FileNotFoundError):
            data: bytes = self._files.cat_file(f"{self._root}/{name}")
            return data
        return None

    def write(self, name: str, data: bytes) -> None:
        with self._asking(name):
            self._files.pipe_file(f"{self._root}/{name}", data)

    def bring(self, path: Path, name: str) -> None:
        with self._asking(name):
            self._files.put_file(str(path), f"{self._root}/{name}")
        path.unlink()

    def names(self, below: str) -> Iterator[str]:
        self._files.invalidate_cache()  # other machines write here too
        found: list[Any] = []
        with self._asking(below), suppress(FileNotFoundError):
            found = self._files.find(f"{self._root}/{below}")
        for path in found:
            yield str(path).removeprefix(self._root).lstrip("/")

    def contents(self, below: str) -> Iterator[tuple[str, bytes]]:
        """Many files at a time: one after the other they would take a round trip each."""
        names = sorted(self.names(below))
        for first in range(0, len(names), _AT_ONCE):
            some = {f"{self._root}/{name}": name for name in names[first : first + _AT_ONCE]}
            with self._asking(below):
                found: dict[str, Any] = self._files.cat(list(some), on_error="return")
            for path, data in found.items():
                if isinstance(data, FileNotFoundError):
                    continue
                with self._asking(some[path]):
                    if isinstance(data, Exception):
                        raise data
                yield some[path], data

    def sweep(self, below: str) -> None:
        """Nothing is left: an object is whole, or it is not there."""

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turns what goes wrong in the block into EnvironmentFault. What fsspec's drivers raise has no base class in common."""
        try:
            yield
        except Exception as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            raise EnvironmentFault(f"{self.address}/{name}: {said}", hint="is the address right, and may you write there?") from error
