"""What has arrived of a file so far: always a beginning of it, hashed as it came.

Each process writes to a file of its own. What an earlier process left is copied into it and hashed on the way: it must be read for
its hash anyway. So no process writes where another does, whether locks work or not.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from segzoo.atomic import write_hint
from segzoo.errors import EnvironmentFault
from segzoo.regular import chunks, open_regular, own

_WORTH_KEEPING = 1 << 16
_EARLIER = "an earlier run"  # stands for the address of bytes that another process left


class Partial:
    """A new file `FAMILY-KEY.UUID.part` in `folder`. `family` stands for the wanted file, `key` for this version of it.

    What has arrived stays for the next process, unless it was finished or discarded, or has no key to be found by.
    `origins` are the addresses that the bytes are from. Raises EnvironmentFault when the folder cannot be written or the disk
    is full, and then leaves nothing on the disk.
    """

    def __init__(self, folder: Path, family: str, key: str | None):
        self.folder, self.family, self.nameless = folder, family, key is None
        self.key = f"{family}-{key or uuid4().hex}"
        with self._disk("cannot write here"):
            folder.mkdir(parents=True, exist_ok=True)
            self._begin()
        self._forget()

    def _begin(self) -> None:
        """Make the file and lock it; anew, where another process removed it between the two."""
        while True:
            self.path = self.folder / f"{self.key}.{uuid4().hex}.part"
            self.file = self.path.open("xb", buffering=0)
            if _lock(self.file.fileno()) is not False and _stands_at(self.path, self.file.fileno()):
                return
            self.file.close()
            self.path.unlink(missing_ok=True)

    def _forget(self) -> None:
        self.digest, self.size, self.head, self.resumed = hashlib.sha256(), 0, b"", 0
        self.origins: set[str] = set()

    def close(self, error: BaseException | None = None) -> None:
        """Leave what has arrived for the next process, or nothing where that cannot use it."""
        if self.size < _WORTH_KEEPING or self.nameless or isinstance(error, EnvironmentFault):
            self.path.unlink(missing_ok=True)
        else:
            self._sweep(self.key, self.size)
        self.file.close()

    def append(self, chunk: bytes) -> None:
        with self._disk():
            written = self.file.write(chunk)
            while written < len(chunk):  # a disk that fills takes a part, and says so the next time
                written += self.file.write(chunk[written:])
        self.digest.update(chunk)
        self.head = self.head or chunk[:64]
        self.size += len(chunk)

    def resume(self) -> None:
        """Take over the longest beginning that another process left of the same version."""
        left = max(self._others(self.key), key=_length, default=None)
        if left is None or _length(left) < _WORTH_KEEPING:
            return
        with contextlib.suppress(OSError), open_regular(left, links=False) as file:
            for chunk in chunks(file):
                self.append(chunk)
        self.resumed = self.size
        self.origins = {_EARLIER} if self.size else set()
        self._sweep(self.key, self.size)

    def reset(self) -> None:
        """Begin anew."""
        with self._disk():
            self.file.seek(0)
            self.file.truncate()
        self._forget()

    def discard(self) -> None:
        """Begin anew, and remove what other processes left of this version."""
        self.reset()
        self._sweep(self.key)

    def finish(self, target: Path) -> None:
        """Give the whole file its name, once its bytes are on disk, and remove what other processes left of it."""
        with self._disk():
            os.fsync(self.file.fileno())
            if os.name == "nt":  # which renames no open file; elsewhere the lock lasts until the file has its name
                self.file.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() and not target.is_symlink():
                raise EnvironmentFault(f"{target}: a folder has the name of a file", hint="move it away")
            try:
                self.path.replace(target)
            except FileNotFoundError as error:  # swept by another that finished the same content first
                if not target.is_file():
                    raise FileNotFoundError(f"{self.path} was taken away while it was written") from error
            sync_folder(target.parent)
        self.file.close()
        self.size = 0
        self._sweep(self.family, done=True)

    def _others(self, beginning: str) -> Iterator[Path]:
        return (path for path in parts(self.folder, beginning) if path != self.path)

    def _sweep(self, beginning: str, longest: int | None = None, done: bool = False) -> None:
        """Remove what dead processes left under this beginning of a name, up to a length.

        Where locks do not work, dead and living processes look alike, and nothing is removed before the file is done.
        """
        if not done and not in_use(self.path):
            return
        for path in self._others(beginning):
            if longest is None or _length(path) <= longest:
                take_away(path)

    @contextlib.contextmanager
    def _disk(self, what: str = "not written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"{self.folder}: {what}: {error.strerror or error}"
            raise EnvironmentFault(why, hint=write_hint(error, "set SEGZOO_HOME to a folder elsewhere")) from error


def arrived(folder: Path, family: str) -> int:
    """How many bytes of a file are here: the longest beginning that any process has."""
    return max((_length(path) for path in parts(folder, f"{family}-")), default=0)


def parts(folder: Path, beginning: str = "") -> list[Path]:
    """The partial files of this user. Where others may write too, a link or a pipe that somebody left there is none."""
    found = []
    for path in folder.glob(f"{beginning}*.part"):
        with contextlib.suppress(OSError):  # swept since it was listed
            if own(path):
                found.append(path)
    return found


def _length(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed. False where another process has it, None where locks do not work: then only a hint is lost."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, ImportError):
        return None
    return True


def _stands_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def in_use(path: Path) -> bool:
    """Whether a living process writes this file. Where locks do not work the answer is no; at worst that process begins anew."""
    with _tried(path) as locked:
        return locked is False


def take_away(path: Path) -> bool:
    """Remove a partial file of this user that no living process writes. It is locked meanwhile, so that none begins with it."""
    with _tried(path) as locked, contextlib.suppress(OSError):
        if locked is not False and own(path):
            path.unlink()
            return True
    return False


@contextlib.contextmanager
def _tried(path: Path) -> Iterator[bool | None]:
    """What `_lock` says of a partial file. It stays locked in the block."""
    descriptor = None
    with contextlib.suppress(OSError):
        if own(path):  # opened for writing too, for NFS locks no other file
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        yield None if descriptor is None else _lock(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Write a folder's list of names to disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
