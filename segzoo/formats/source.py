"""The bytes of a file that another program may still write to: read a piece at a time, and never mapped.

To touch a mapped page beyond the end of a file that was cut meanwhile ends the process with SIGBUS, without a word. A read that comes
back short can be said. What is read of a file that was rewritten in place is said too: after each read, its size and its time of last
change must be what they were when it was opened. (A change within one tick of the file system's clock, some milliseconds, escapes that; the
checksums of npz and `.pth` see it.) The cost is one copy of each tensor out of the page cache: a tenth of what a conversion takes.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import fastcrc
import numpy as np

from segzoo.errors import IntegrityError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when it was opened: its size in bytes, and what shows whether it is the same file still."""

    path: Path
    size: int
    mark: tuple[int, int, int]

    def read(self, begin: int, length: int) -> np.ndarray:
        """`length` bytes from `begin`, as new memory that nobody else writes to. Raises IntegrityError where the file has changed."""
        self._within(begin, length)
        block = np.empty(length, np.uint8)
        with self._opened() as file:
            self._fill(file, begin, block.data)
            self._refuse_changed(file)
        return block

    def crc(self, begin: int, length: int) -> int:
        """The CRC-32 of these bytes, which need not fit into memory."""
        self._within(begin, length)
        buffer, found = memoryview(bytearray(min(_CHUNK, length))), 0
        with self._opened() as file:
            for start in range(0, length, _CHUNK):
                piece = buffer[: min(_CHUNK, length - start)]
                self._fill(file, begin + start, piece)
                found = crc_of(piece, found)
            self._refuse_changed(file)
        return found

    def check(self) -> None:
        """Raises IntegrityError if the file is no longer what it was when it was opened."""
        with self._opened() as file:
            self._refuse_changed(file)

    def _opened(self) -> IO[bytes]:
        try:
            return self.path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise IntegrityError(f"{self.path}: removed while it was read", _AGAIN) from error

    def _within(self, begin: int, length: int) -> None:
        if begin + length > self.size:
            raise ValueError(f"it has {self.size} bytes, and byte {begin + length} is asked for")

    def _fill(self, file: IO[bytes], begin: int, view: memoryview) -> None:
        file.seek(begin)
        done = 0
        while done < len(view):  # one call reads 2 GiB at most
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                self._refuse_changed(file)
                raise IntegrityError(f"{self.path}: cut short while it was read: byte {begin + done} of {self.size} is not there", _AGAIN)
            done += got

    def _refuse_changed(self, file: IO[bytes]) -> None:
        now = os.fstat(file.fileno())
        if now.st_size < self.size:
            raise IntegrityError(f"{self.path}: cut short while it was read: expected {self.size} bytes, found {now.st_size}", _AGAIN)
        if _mark(now) != self.mark:
            raise IntegrityError(f"{self.path}: changed while it was read: what was read may be part old and part new", _AGAIN)


_AGAIN = "another program works on this file: let it finish, then try again"


def source(path: Path) -> Source:
    """A file as it is now."""
    now = path.stat()
    return Source(path, now.st_size, _mark(now))


def _mark(now: os.stat_result) -> tuple[int, int, int]:
    return now.st_dev, now.st_ino, now.st_mtime_ns


def crc_of(data: memoryview, before: int = 0) -> int:
    """The CRC-32 that zip files have, of these bytes after others whose CRC-32 is `before`."""
    return fastcrc.crc32.iso_hdlc(data, before)
