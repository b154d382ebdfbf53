"""Regular files, opened so that nothing waits and nothing is endless: a path may come from a stranger, and name a pipe or a device.

A file of /proc says that it has no bytes, and has some all the same: no more is read than a file says it has when it is opened.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from segzoo.errors import NotFoundError

_CHUNK = 1 << 20
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_SYSTEM = ("/proc/", "/sys/", "/dev/fd/", "/dev/stdin")  # files that stand for what a process has open, or for the machine
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegular(OSError):
    """A path that leads to something else than a regular file. `what` says in words what it is."""

    def __init__(self, path: Path, what: str):
        super().__init__(errno.EINVAL, f"{what}, not a file", str(path))
        self.what = what


def no_file(path: Path) -> NotFoundError | None:
    """The error for a path where a folder, a pipe or a device is in place of a file. None for a file, and where there is nothing."""
    try:
        what = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):  # a NUL in the name
        return None
    hint = None if what == "a folder" else f"save what comes from it as a file first: cat {shlex.quote(str(path))} > FILE"
    return NotFoundError(f"{path}: {what}, not a file", hint) if what else None


def open_regular(path: Path, *, links: bool = True) -> BufferedReader:
    """Open a regular file for reading. Raises NotRegular for all else, and FileNotFoundError and other OSError as `open` does.

    Without `links`, the file must stand at this path itself. What is no file is not even opened: a device may act on that.
    """
    _refuse(path, path.stat() if links else path.lstat())
    file = os.fdopen(os.open(path, os.O_RDONLY | _NEVER_WAIT | (0 if links else _NO_LINK)), "rb")
    try:
        _refuse(path, os.fstat(file.fileno()))
    except NotRegular:
        file.close()
        raise
    return file


def _refuse(path: Path, fact: os.stat_result) -> None:
    if what := _KINDS.get(stat.S_IFMT(fact.st_mode)):
        raise NotRegular(path, what)


def open_named(path: Path) -> BufferedReader:
    """Open a regular file whose path a stranger wrote. What the system shows of itself as files is refused too. Raises as `open_regular`."""
    if _of_the_system(path):
        raise NotRegular(path, "a file that the system makes up")
    return open_regular(path)


def own(path: Path) -> bool:
    """Whether a regular file stands at this path itself, belongs to this user, and has no other name. Raises OSError."""
    fact = path.lstat()
    return stat.S_ISREG(fact.st_mode) and fact.st_nlink <= 1 and (not hasattr(os, "geteuid") or fact.st_uid == os.geteuid())


def size_of(file: IO[bytes]) -> int:
    """How many bytes an open file says it has."""
    return os.fstat(file.fileno()).st_size


def chunks(file: IO[bytes], size: int | None = None) -> Iterator[bytes]:
    """The bytes of a file from where it stands, a piece at a time: as many as are asked for, by default as many as the file says it has."""
    left = size_of(file) if size is None else size
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _of_the_system(path: Path) -> bool:
    """Whether a path leads through a place where the system shows open files and itself. /dev/stdin is a link to such a place."""
    for _ in range(40):  # as many links as Linux follows
        path = path.absolute().parent.resolve() / path.name
        if str(path).startswith(_SYSTEM):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return True
