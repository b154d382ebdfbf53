"""Files appear under their final name only when they are complete and on disk."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segzoo.errors import EnvironmentFault, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def part_file(folder: Path, label: str) -> Iterator[Path]:
    """A new temporary file in `folder` that is gone when the block ends, unless `keep` gave it a name.

    Raises EnvironmentFault when the folder cannot be written or the disk is full.
    """
    try:
        _make(folder)
        handle, name = tempfile.mkstemp(prefix=f".{label[:40]}.", suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: cannot write here: {error.strerror}", hint=way_on(error)) from error
    part = Path(name)
    try:
        yield part
    except OSError as error:
        raise EnvironmentFault(f"{folder / label}: not written: {error.strerror or error}", hint=way_on(error)) from error
    finally:
        part.unlink(missing_ok=True)


def way_on(error: OSError, elsewhere: str = "write to another folder; the store and its receipts are where SEGZOO_HOME says") -> str:
    """What to do where something cannot be written: a disk may be full, or a folder not one's own."""
    return f"free some space, or {elsewhere}" if error.errno in _FULL else elsewhere


def _make(folder: Path) -> None:
    """The folder, with those above it. Raises EnvironmentFault where one of them is a file, OSError."""
    if file := in_the_way(folder):
        raise EnvironmentFault(f"{folder}: cannot write here: {file} is a file", hint="name another folder, or move that file away")
    folder.mkdir(parents=True, exist_ok=True)


def in_the_way(folder: Path) -> Path | None:
    """The file that stands where this folder, or one above it, would be."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return None if nearest.is_dir() else nearest


def keep(part: Path, path: Path) -> None:
    """Give a finished part file its name, once its bytes are on disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.chmod(0o666 & ~_umask())
    part.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A part file beside `path` that takes its name if the block ends without an error."""
    with part_file(path.parent, path.name) as part:
        yield part
        keep(part, path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its name, with all files on disk, if the block ends without an error; else it is gone.

    Raises UsageError where something is there already (an empty folder is nothing), EnvironmentFault.
    """
    path = path.absolute()
    if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
        what = "exists already, and is not empty" if path.is_dir() else "is a file"
        raise UsageError(f"{path}: {what}", hint="name a new folder, or remove this one first")
    try:
        _make(path.parent)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise EnvironmentFault(f"{path.parent}: cannot write here: {error.strerror}", hint=way_on(error)) from error
    try:
        yield part
        for file in part.iterdir():
            keep(file, file)
        part.chmod(0o777 & ~_umask())
        if path.is_dir():
            path.rmdir()
        part.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"{path}: not written: {error.strerror or error}", hint=way_on(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
