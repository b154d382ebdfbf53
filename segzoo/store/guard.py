"""Lock files, where the file system has locks. They spare double work; nothing is wrong without them."""

import os
from errno import EACCES
from pathlib import Path

from filelock import FileLock


def file_lock(path: Path) -> FileLock | None:
    """A lock on this file, not taken yet; None where the file system has none, as Lustre mounted without them. Raises OSError.

    filelock itself would wait for ever there, fall back on files that a killed process leaves behind, or raise, by version.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where files are locked in another way
        return FileLock(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return FileLock(path) if isinstance(error, BlockingIOError) or error.errno == EACCES else None
    finally:
        os.close(descriptor)
    return FileLock(path)
