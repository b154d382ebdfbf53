"""Files appear under their final name only when they are complete and on disk.

What is written has the name `.LABEL.TOKEN.part` until then, and beside it stands `.LABEL.TOKEN.held`, a file that the writing process
keeps locked. A process that is killed leaves both, and its lock ends with it, also where another machine held it over NFS, and after a
restart. So whoever gets the lock may remove the part: `sweep` does, and each process does it once in each folder where it begins to write.
The lock is on a file beside the part because NFS locks no folders, and because a library may replace the file that it is asked to write.
Where locks do not work, or keep nobody out, a part is left alone for a day.
"""

import contextlib
import errno
import filecmp
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segzoo.errors import EnvironmentFault, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PARTS: set[Path] = set()  # the part files and folders that this process has not finished
_SWEPT: set[Path] = set()  # the folders that this process has swept: `predict` writes 20,000 files into one
_NAME = re.compile(r"(?s)\.(.{1,40})\.(?:[0-9a-f]{8}|[0-9a-f]{32})\.(part|held)")  # the longer ones are of earlier versions
_LONG_AGO = 86400  # seconds
_LONGEST_WAIT = 60  # seconds
_OWN_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def part_file(folder: Path, label: str) -> Iterator[Path]:
    """A new temporary file in `folder`. The end of the block removes it, unless `give_name` has renamed it.

    Raises EnvironmentFault where the folder cannot be written or the disk is full.
    """
    with _part(folder, label) as part:
        try:
            part.touch(0o600, exist_ok=False)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            yield part
        except OSError as error:
            raise EnvironmentFault(f"{folder / label}: not written: {error.strerror or error}", hint=write_hint(error)) from error


@contextmanager
def part_folder(folder: Path, label: str) -> Iterator[Path]:
    """A new temporary folder in `folder`. The end of the block removes it, unless it has been renamed.

    Raises EnvironmentFault where the folder cannot be written.
    """
    with _part(folder, label) as part:
        try:
            part.mkdir()
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield part


@contextmanager
def _part(folder: Path, label: str) -> Iterator[Path]:
    """The name of a new part in `folder`, which no other process sweeps. What has this name at the end of the block is removed.

    The name is known before the file is there: an interrupt at any moment leaves a file that `remove_parts` finds.
    """
    _make(folder)
    sweep_once(folder)
    part = folder / f".{label[:40]}.{secrets.token_hex(4)}.part"
    held = None
    _PARTS.add(part)
    try:
        held = _hold(part)
        yield part
    finally:
        if held is not None:
            os.close(held)  # Windows removes no open file; from here on another process may remove the part as well
        _remove(part)
        _PARTS.discard(part)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """The block runs in one process at a time of those that change `path`. Where locks do not work, they all go on at once.

    The locked file beside it goes at the end; a process that is killed leaves it, and a sweep removes it as it does parts.
    Raises EnvironmentFault where the folder cannot be written, or another process does not end.
    """
    _make(path.parent)
    part = path.with_name(f".{path.name[:40]}.{'0' * 8}.part")
    held = _hold(part)
    _PARTS.add(part)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            part.with_suffix(".held").unlink(missing_ok=True)
        _PARTS.discard(part)
        os.close(held)


def _hold(part: Path) -> int:
    """Lock the file beside a part until its descriptor, which is returned, is closed. Waits for a process that has it, and makes the file
    anew where a sweep came between the file and its lock. Raises EnvironmentFault.
    """
    path = part.with_suffix(".held")
    until = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < until:
        try:
            held = os.open(path, os.O_RDWR | os.O_CREAT | _OWN_FILE, 0o600)
        except OSError as error:
            raise _unwritable(part.parent, error) from error
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            _lock(held)
            if os.path.samestat(os.fstat(held), path.lstat()):
                return held
        os.close(held)
        time.sleep(0.01)
    raise EnvironmentFault(f"{path}: another process has held it for {_LONGEST_WAIT} s", hint="wait for it or end it, then try again")


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed. Returns False where locks do not work. Raises BlockingIOError where another has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fcntl is not None
    except BlockingIOError:
        raise
    except OSError:
        return False


def _keeps_out(locked: Path) -> bool:
    """Whether the lock that this process has on a file keeps others out. Some file systems grant every lock."""
    probe = os.open(locked, os.O_RDWR | _OWN_FILE)
    try:
        _lock(probe)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False


def remove_parts() -> None:
    """Remove all that this process has not finished. For a process that ends at once, without leaving its blocks."""
    for part in tuple(_PARTS):
        _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)
    part.with_suffix(".held").unlink(missing_ok=True)


def sweep_once(folder: Path) -> None:
    """Sweep a folder where this process begins to write, or finds that there is nothing left to write."""
    if folder.absolute() not in _SWEPT:
        _SWEPT.add(folder.absolute())
        sweep(folder)


def sweep(folder: Path, label: str | None = None) -> list[Path]:
    """Remove the parts in a folder that no process holds, all or those of one label. Returns what was removed."""
    return [part for part in _parts(folder, label) if _abandoned(part, remove=True)]


def abandoned(folder: Path) -> list[Path]:
    """The parts in a folder that no process holds."""
    return [part for part in _parts(folder) if _abandoned(part)]


def _parts(folder: Path, label: str | None = None) -> list[Path]:
    """The parts in a folder, also those where only the locked file is left. A folder that cannot be read has none."""
    try:
        found = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError:
        return []
    return sorted({(folder / match.group()).with_suffix(".part") for match in found if label is None or match[1] == label[:40]})


def _abandoned(part: Path, remove: bool = False) -> bool:
    """Whether a part is this user's and no process holds it. It is then removed, if that is asked for."""
    held = part.with_suffix(".held")
    descriptor = None
    try:
        if fcntl is not None and os.path.lexists(held):
            descriptor = os.open(held, os.O_RDWR | _OWN_FILE)
        locked = descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor) and _keeps_out(held)
        facts = [path.lstat() for path in (part, held) if os.path.lexists(path)]
        free = bool(facts) and all(_own(fact) and (locked or fact.st_mtime < time.time() - _LONG_AGO) for fact in facts)
        if free and remove:
            _remove(part)
            return not os.path.lexists(part)
    except OSError:  # another process holds it (BlockingIOError) or removed it just now; a link; it may not be removed
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return free


def _own(fact: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or fact.st_uid == os.geteuid()


_ELSEWHERE = "write to another folder; SEGZOO_HOME sets where the store is, SEGZOO_RECEIPTS where the receipts are"


def write_hint(error: OSError, otherwise: str = _ELSEWHERE) -> str:
    """What to do about a failed write: the disk may be full, or the folder may belong to somebody else."""
    return f"free some space, or {otherwise}" if error.errno in _FULL else otherwise


def _make(folder: Path) -> None:
    """Make a folder and its parents. Raises EnvironmentFault where one of them is a file, or cannot be made."""
    try:
        if file := in_the_way(folder):
            raise EnvironmentFault(f"{folder}: cannot write here: {file} is a file", hint="name another folder, or move that file away")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"{folder}: cannot write here: {error.strerror}", hint=write_hint(error))


def in_the_way(folder: Path) -> Path | None:
    """The file that has the path of this folder, or of one of its parents."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return None if nearest.is_dir() else nearest


def give_name(part: Path, path: Path) -> None:
    """Give a finished part file its final name. Its bytes are on disk before it has that name."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.chmod(0o666 & ~_umask())
    part.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A part file beside `path`. It takes the name `path` if the block ends without an error."""
    with part_file(path.parent, path.name) as part:
        yield part
        give_name(part, path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`. If the block ends without an error, its files are on disk and it takes the name `path`; else it is removed.

    A folder `path` that holds the same files already stays as it is. Raises UsageError where it holds others, or is a file, and
    EnvironmentFault where the disk cannot be written.
    """
    path = path.absolute()
    if path.is_symlink() or path.is_file():
        raise UsageError(f"{path}: is a file", hint=_NEW_FOLDER)
    with _part(path.parent, path.name) as part:
        try:
            part.mkdir(0o700)
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        try:
            yield part
            if _stays(path, part):
                return
            for file in part.iterdir():
                give_name(file, file)
            part.chmod(0o777 & ~_umask())
            try:
                if path.is_dir():
                    path.rmdir()
                part.replace(path)
            except OSError:  # another process may have been quicker with the same files
                if not _stays(path, part):
                    raise
        except OSError as error:
            raise EnvironmentFault(f"{path}: not written: {error.strerror or error}", hint=write_hint(error)) from error


def _stays(path: Path, part: Path) -> bool:
    """Whether a folder holds files already, those of `part`. Raises UsageError where it holds others."""
    if not holds_files(path):
        return False
    if other := _differing(part, path):
        raise UsageError(f"{path}: exists already, and would not be the same: {other}", hint=_NEW_FOLDER)
    return True


_NEW_FOLDER = "name a new folder, or remove this one first"


def holds_files(path: Path) -> bool:
    """Whether there is a folder of this name, and anything in it."""
    return path.is_dir() and any(path.iterdir())


def _differing(one: Path, other: Path) -> str | None:
    """The name of the first file that is not the same in both folders; None where all are."""
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir()})
    return next((name for name in names if not _same_file(one / name, other / name)), None)


def _same_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
