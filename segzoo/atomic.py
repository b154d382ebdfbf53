"""Files appear under their final name only when they are complete and on disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segzoo.errors import EnvironmentFault


@contextmanager
def part_file(folder: Path, label: str) -> Iterator[Path]:
    """A new temporary file in `folder` that is gone when the block ends, unless `keep` gave it a name.

    Raises EnvironmentFault when the folder cannot be written or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{label[:40]}.", suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: cannot write here: {error.strerror}") from error
    part = Path(name)
    try:
        yield part
    except OSError as error:
        raise EnvironmentFault(f"{folder / label}: not written: {error.strerror or error}", hint="free some space, or write elsewhere") from error
    finally:
        part.unlink(missing_ok=True)


def keep(part: Path, path: Path) -> None:
    """Give a finished part file its name, once its bytes are on disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    part.chmod(0o666 & ~mask)
    part.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A part file beside `path` that takes its name if the block ends without an error."""
    with part_file(path.parent, path.name) as part:
        yield part
        keep(part, path)
