"""How many connections all workers of a run may have open together: hosts are other people's.

A lane is a locked file. A worker downloads while it has one of the lanes, and a killed worker's lane is free at once. Where the file system has
no locks, nothing holds the workers back but their number.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from segzoo.errors import NetworkError
from segzoo.store.guard import file_lock

MOST = 16
"""Connections of a run, over all workers and all machines that share its folder."""
_LONGEST = 6 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class Lanes:
    """`number` of lanes, each of `connections`. Together they are MOST at most."""

    number: int
    connections: int

    @classmethod
    def of(cls, workers: int) -> "Lanes":
        number = max(1, min(workers, MOST))
        return cls(number, MOST // number)


@contextmanager
def lane(folder: Path, number: int) -> Iterator[None]:
    """Wait for one of so many lanes in a folder, and keep it. Raises NetworkError where none gets free for hours."""
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until:
        for at in random.sample(range(number), number):
            lock = file_lock(folder / f"{at}.lock")
            if lock is None:
                yield
                return
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield
            finally:
                lock.release()
            return
        time.sleep(0.05)
    raise NetworkError("no lane for a download got free in six hours", hint="do other runs use the same folder?")
