"""A user's files: hashed, and copied into the store under their hash."""

import hashlib
from pathlib import Path
from typing import IO

from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.store.partial import Partial
from segzoo.store.store import Store

_CHUNK = 1 << 20


def hashed(source: Path) -> tuple[str, int]:
    """The sha256 and the size of a user's file. Raises NotFoundError, EnvironmentFault."""
    if not source.is_file():
        raise NotFoundError(f"{source}: no such file" if not source.exists() else f"{source}: not a file")
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror}") from error


def copy_into_store(file: IO[bytes], sha256: str, otherwise: str, store: Store) -> None:
    """Copy a file into the store under this hash. Raises IntegrityError, with the message `otherwise`, where its bytes have another."""
    copy = Partial(store.partials, sha256[:32], None)
    try:
        while chunk := file.read(_CHUNK):
            copy.append(chunk)
        if copy.digest.hexdigest() != sha256:
            raise IntegrityError(otherwise)
        copy.finish(store.blob(sha256))
    finally:
        copy.close()
