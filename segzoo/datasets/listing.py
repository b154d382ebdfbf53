"""What lies in a data set's folders, and why a folder or file there cannot be used."""

import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from segzoo.errors import EnvironmentFault

ABSENT = "it is not there"
READABLE = "the user that segzoo runs as needs the right to read it, and to enter the folders above it"
_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")


class LackingFolder(EnvironmentFault):
    """A folder that a data set's layout has is not there."""


def listed(folder: Path, layout: str | None = None) -> list[Path]:
    """What is in a folder, sorted, but for hidden files: macOS lays a ._NAME beside a NAME that it copies to another disk.

    Raises LackingFolder with `layout` for a hint, EnvironmentFault where the folder cannot be read.
    """
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LackingFolder(f"{folder}: no such folder", hint=layout) from error
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(path for path in found if not path.name.startswith("."))


def ending(end: str, within: Path, folders: Sequence[Path]) -> list[Path]:
    """The files of some folders `within` one whose names end so, sorted. Raises EnvironmentFault where there are none."""
    found = sorted(path for folder in folders for path in listed(folder) if path.name.endswith(end))
    if not found:
        raise EnvironmentFault(f"{within}: expected images *{end}, found none", hint=renaming(folders, f".{end.rpartition('.')[2]}"))
    return found


def renaming(folders: Iterable[Path], suffix: str) -> str | None:
    """What to do about images whose names end otherwise than in `suffix`, such as .JPG; None where there are none."""
    for folder in folders:
        others = Counter(path.suffix for path in listed(folder) if path.suffix != suffix and path.suffix.lower() in _SUFFIXES)
        for other, count in others.most_common(1):
            return f"{folder} has {count} *{other}, but this layout has *{suffix}: rename them"
    return None


def fault_of(path: Path) -> str | None:
    """What shows, before it is opened, that a path is no file to read; ABSENT where there is nothing at all.

    Raises EnvironmentFault where its folder may not be entered.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"a link to {path.readlink()}, which is not there" if path.is_symlink() else ABSENT
    except PermissionError as error:
        raise unreadable(path, error) from error
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a socket or device"
    return f"expected a file, found {kind}"


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. Raises EnvironmentFault where that cannot be told."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def folder_given(data: Path) -> Path:
    """The folder that a user named. Raises EnvironmentFault where there is none."""
    if not is_folder(data):
        raise EnvironmentFault(f"{data}: no such folder", hint="--data names the folder of the data set, or the one that it is in")
    return data


def unreadable(path: Path, error: OSError) -> EnvironmentFault:
    """That the system does not give a file or folder."""
    return EnvironmentFault(f"{path}: cannot be read: {error.strerror}", hint=READABLE if isinstance(error, PermissionError) else None)


def folders(*parts: Path, layout: str) -> tuple[Path, ...]:
    for part in parts:
        listed(part, layout)
    return parts
