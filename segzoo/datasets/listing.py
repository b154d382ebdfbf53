"""What is in a data set's folders, and why a folder or file there cannot be used."""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BufferedReader
from pathlib import Path

from segzoo.errors import EnvironmentFault

ABSENT = "it is not there"
READABLE = "the user that segzoo runs as needs the right to read it, and to enter the folders above it"
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")


class LackingFolder(EnvironmentFault):
    """A folder that every data set of this kind has is not there."""


def listed(folder: Path, hint: str | None = None) -> list[Path]:
    """What is in a folder, sorted, without hidden files: macOS writes a ._NAME beside each NAME that it copies to another disk.

    Raises LackingFolder with this hint, or EnvironmentFault if the folder cannot be read.
    """
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LackingFolder(f"{folder}: no such folder", hint=hint) from error
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(path for path in found if not path.name.startswith("."))


def walked(folder: Path) -> list[Path]:
    """The files below a folder at any depth, sorted; links to folders are followed, but not in a circle. Raises as `listed` does."""
    found: list[Path] = []
    waiting, seen = [folder], set[Path]()
    while waiting:
        inner = waiting.pop()
        if (real := inner.resolve()) in seen:
            continue
        seen.add(real)
        for path in listed(inner):
            (waiting if is_folder(path) else found).append(path)
    return sorted(found)


def lines_of(file: Path, what: str, hint: str | None = None) -> list[str]:
    """The lines of a list, without empty ones. `what` is the list in words; `hint` says who writes it.

    Raises EnvironmentFault, also for a file too large for a list of names, or with a line longer than any path.
    """
    if fault := fault_of(file):
        raise EnvironmentFault(f"{file}: {what} cannot be read: {fault}", hint=hint if fault == ABSENT else None)
    try:
        with open_file(file) as opened:
            data = opened.read(_LONGEST_LIST + 1)
    except OSError as error:
        raise unreadable(file, error) from error
    if len(data) > _LONGEST_LIST:
        raise EnvironmentFault(f"{file}: {what} has more than {_LONGEST_LIST >> 20} MB", hint="a list has one name a line, and nothing else")
    lines = [line.strip() for line in re.split("\r\n|\n|\r", data.decode("utf-8-sig", "surrogateescape"))]
    if long := next((number for number, line in enumerate(lines, 1) if len(line) > _LONGEST_NAME), None):
        raise EnvironmentFault(
            f"{file}, line {long}: {len(lines[long - 1])} letters, and no path is so long", hint="one name a line, and nothing else"
        )
    return [line for line in lines if line]


_LONGEST_LIST, _LONGEST_NAME = 64 << 20, 4096  # bytes, letters


def images_ending(end: str, within: Path, folders: Sequence[Path]) -> list[Path]:
    """The files in some folders whose names end in `end`, sorted. Raises EnvironmentFault, which names `within`, if there are none."""
    found = sorted(path for folder in folders for path in listed(folder) if path.name.endswith(end))
    if not found:
        raise EnvironmentFault(f"{within}: expected images *{end}, found none", hint=rename_hint(folders, f".{end.rpartition('.')[2]}"))
    return found


def rename_hint(folders: Iterable[Path], suffix: str) -> str | None:
    """What to do about images with another suffix, such as .JPG; None if there are none."""
    for folder in folders:
        others = Counter(path.suffix for path in listed(folder) if path.suffix != suffix and path.suffix.lower() in SUFFIXES)
        for other, count in others.most_common(1):
            return f"{folder} has {count} *{other}, but this layout has *{suffix}: rename them"
    return None


def fault_of(path: Path) -> str | None:
    """Why a path is no file to read, seen without opening it; ABSENT if nothing is there, None if it is a file.

    Raises EnvironmentFault if its folder may not be entered.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"a link to {path.readlink()}, which is not there" if path.is_symlink() else ABSENT
    except PermissionError as error:
        raise unreadable(path, error) from error
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return _no_file(mode)


def _no_file(mode: int) -> str | None:
    """Why what has this mode is no file to read; None if it is one."""
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a socket or device"
    return f"expected a file, found {kind}"


def open_file(path: Path) -> BufferedReader:
    """A file, open to be read. Raises OSError, also for a pipe or a device, which is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    mode = os.fstat(descriptor).st_mode
    if not (why := _no_file(mode)):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) if stat.S_ISDIR(mode) else OSError(errno.EINVAL, why, str(path))


_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. Raises EnvironmentFault if the system does not say."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that leads to itself
            return False
        raise unreadable(path, error) from error


def folder_given(data: Path) -> Path:
    """The folder that the user gave with --data. Raises EnvironmentFault if there is none."""
    if not is_folder(data):
        raise EnvironmentFault(f"{data}: no such folder", hint="--data is the folder of the data set, or the folder above it")
    return data


def unreadable(path: Path, error: OSError) -> EnvironmentFault:
    """The error for a file or folder that the system does not open."""
    return EnvironmentFault(f"{path}: cannot be read: {error.strerror}", hint=READABLE if isinstance(error, PermissionError) else None)


def expected_folders(*parts: Path, hint: str) -> tuple[Path, ...]:
    """The same folders. Raises LackingFolder with this hint if one is not there."""
    for part in parts:
        listed(part, hint)
    return parts
