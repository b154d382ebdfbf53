"""What has arrived of a file so far: always a beginning of it, hashed as it came.

Each process writes to a file of its own. What an earlier one left is adopted by copying it while it is
hashed, which must be read for that anyway; so none writes where another does, whether locks hold or not.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from segzoo.atomic import way_on
from segzoo.errors import EnvironmentFault

_CHUNK = 1 << 20
_WORTH_KEEPING = 1 << 16


class Partial:
    """A new file `FAMILY-KEY.UUID.part` in `folder`: `family` is of the wanted file, `key` of this version of it.

    What has arrived stays behind for the next process, unless it was finished or discarded, or there is no
    key by which to know it. Raises EnvironmentFault when the folder cannot be written
    or the disk is full, and then leaves the disk as it was.
    """

    def __init__(self, folder: Path, family: str, key: str | None):
        self.folder, self.family, self.nameless = folder, family, key is None
        self.key = f"{family}-{key or uuid4().hex}"
        self.path = folder / f"{self.key}.{uuid4().hex}.part"
        with self._disk("cannot write here"):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("xb", buffering=0)
        _hold(self.file.fileno())
        self.digest, self.size, self.head, self.adopted = hashlib.sha256(), 0, b"", 0

    def close(self, error: BaseException | None = None) -> None:
        """Leave what has arrived for the next process, or nothing where it is of no use to it."""
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

    def adopt(self) -> None:
        """Take over the longest that another process left of the same."""
        left = max(self._others(self.key), key=_length, default=None)
        if left is None or _length(left) < _WORTH_KEEPING:
            return
        with contextlib.suppress(FileNotFoundError), left.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self.append(chunk)
        self.adopted = self.size
        self._sweep(self.key, self.size)

    def reset(self) -> None:
        """Begin anew."""
        with self._disk():
            self.file.seek(0)
            self.file.truncate()
        self.digest, self.size, self.head, self.adopted = hashlib.sha256(), 0, b"", 0

    def discard(self) -> None:
        """Forget it all, and what was adopted of others."""
        self.reset()
        self._sweep(self.key)

    def finish(self, target: Path) -> None:
        """Give the whole file its name, once its bytes are on disk; what others left of it is of no use any more."""
        with self._disk():
            os.fsync(self.file.fileno())
            self.file.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # swept by another that finished the same content first
                self.path.replace(target)
            if not target.exists():
                raise FileNotFoundError(f"{self.path} was taken away while it was written")
            sync_folder(target.parent)
        self.size = 0
        self._sweep(self.family, done=True)

    def _others(self, beginning: str) -> Iterator[Path]:
        return (path for path in self.folder.glob(f"{beginning}*.part") if path != self.path)

    def _sweep(self, beginning: str, longest: int | None = None, done: bool = False) -> None:
        """Take away what processes that live no more left of the same, up to a length.

        Where locks lie, the dead cannot be told from the living, and nothing is taken away before the file is done.
        """
        if not done and not held(self.path):
            return
        for path in self._others(beginning):
            with contextlib.suppress(OSError):
                if (longest is None or _length(path) <= longest) and not held(path):
                    path.unlink()

    @contextlib.contextmanager
    def _disk(self, what: str = "not written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"{self.folder}: {what}: {error.strerror or error}"
            raise EnvironmentFault(why, hint=way_on(error, "set SEGZOO_HOME to a folder elsewhere")) from error


def arrived(folder: Path, family: str) -> int:
    """How much is there of a file, by whichever process."""
    return max((_length(path) for path in folder.glob(f"{family}-*.part")), default=0)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _hold(descriptor: int) -> None:
    """Mark an open file as in use for as long as this process lives; where locks do not work, nothing is lost but a hint."""
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def held(path: Path) -> bool:
    """Whether a living process holds this file. Where locks lie, it says no, and that process begins anew at worst."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ImportError):
        return False
    return False


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
