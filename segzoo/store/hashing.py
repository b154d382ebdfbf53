"""A user's files: hashed, and copied into the store under their hash."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.regular import NotRegular, chunks, no_file, open_regular
from segzoo.store.partial import Partial
from segzoo.store.store import Store


def hashed(source: Path) -> tuple[str, int]:
    """The sha256 and the size of a user's file. Raises NotFoundError, EnvironmentFault."""
    try:
        return digest_of(source)
    except FileNotFoundError as error:
        raise NotFoundError(f"{source}: no such file") from error
    except NotRegular as error:
        raise no_file(source) or NotFoundError(f"{source}: {error.strerror}") from error
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror}") from error


def digest_of(path: Path, links: bool = True) -> tuple[str, int]:
    """The sha256 and the size of a regular file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with open_regular(path, links=links) as file:
        for chunk in chunks(file):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def copy_into_store(pieces: Iterable[bytes], sha256: str, otherwise: str, store: Store) -> None:
    """Copy bytes into the store under their hash. Raises IntegrityError, with the message `otherwise`, where they have another."""
    copy = Partial(store.partials, sha256[:32], None)
    try:
        for chunk in pieces:
            copy.append(chunk)
        if copy.digest.hexdigest() != sha256:
            raise IntegrityError(otherwise)
        copy.finish(store.blob(sha256))
    finally:
        copy.close()
