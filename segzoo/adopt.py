"""Files that a user still has, put into the store: recognised by their content, never by their name."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from segzoo.delivery import evidence
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.partial import Partial
from segzoo.store import Store
from segzoo.zoo import Artifact

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Adopted:
    """A file of the user's and the artifact that it is."""

    source: Path
    artifact: Artifact
    path: Path
    sha256: str
    size: int
    evidence: str


def adopt(source: Path, artifacts: Iterable[Artifact], store: Store) -> Adopted:
    """Copy a file into the store as the artifact whose hash it has, or whose eight published digits its hash begins with.

    Raises NotFoundError (no such file, or it is none of the artifacts), IntegrityError (the digits fit, but
    not the size or what is pinned), EnvironmentFault.
    """
    sha256, size = hashed(source)
    artifacts = list(artifacts)
    exact = [one for one in artifacts if store.expected(one) == sha256]
    named = [one for one in artifacts if one.sha256_prefix and sha256.startswith(one.sha256_prefix)]
    artifact = next(iter(exact + named), None)
    if artifact is None:
        raise NotFoundError(
            f"{source}: sha256 {sha256} is of no file in this zoo", hint="segzoo info NAME shows what a file must have; --zoo chooses another zoo"
        )
    if artifact.size is not None and size != artifact.size:
        raise IntegrityError(f"{source}: its hash begins as that of {artifact.name}, but expected {artifact.size:,} bytes, found {size:,}")
    if (expected := store.expected(artifact)) is not None and expected != sha256:
        raise IntegrityError(f"{source}: expected sha256 {expected} of {artifact.name}, found {sha256}")
    if not store.blob(sha256).is_file():
        with source.open("rb") as file:
            keep(file, sha256, f"{source}: changed while it was copied", store)
    if not artifact.sha256:
        store.pin(artifact, sha256, size, f"adopted: {source.name}")
    return Adopted(source, artifact, store.blob(sha256), sha256, size, evidence(artifact))


def hashed(source: Path) -> tuple[str, int]:
    """The sha256 and the size of a file of the user's. Raises NotFoundError, EnvironmentFault."""
    if not source.is_file():
        raise NotFoundError(f"{source}: no such file" if not source.exists() else f"{source}: not a file")
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror}") from error


def keep(file: IO[bytes], sha256: str, otherwise: str, store: Store) -> None:
    """What a file gives, under its hash in the store. Raises IntegrityError, with `otherwise`, where it has another."""
    copy = Partial(store.partials, sha256[:32], None)
    try:
        while chunk := file.read(_CHUNK):
            copy.append(chunk)
        if copy.digest.hexdigest() != sha256:
            raise IntegrityError(otherwise)
        copy.finish(store.blob(sha256))
    finally:
        copy.close()
