"""Files that a user still has, put into the store: recognised by their content, never by their name; or what the user says they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.store.fetched import evidence, misfit
from segzoo.store.hashing import hashed, keep
from segzoo.store.policy import Look
from segzoo.store.store import Store

_SEEN = "segzoo inspect FILE shows what is in it; where you know better, segzoo fetch NAME --pin SHA256 pins a hash by hand, and adopt takes its file"


@dataclass(frozen=True)
class Adopted:
    """A file of the user's and the artifact that it is."""

    source: Path
    artifact: Artifact
    path: Path
    sha256: str
    size: int
    evidence: str


class Unknown(NotFoundError):
    """A file that by its hash is none of the zoo's."""


def adopt(source: Path, artifacts: Iterable[Artifact], store: Store) -> Adopted:
    """Copy a file into the store as the artifact whose hash it has, or whose eight published digits its hash begins with.

    Raises NotFoundError (no such file, or Unknown: it is none of the artifacts), IntegrityError (the digits
    fit, but not the size or what is pinned), EnvironmentFault.
    """
    sha256, size = hashed(source)
    artifacts = list(artifacts)
    exact = [one for one in artifacts if store.expected(one) == sha256]
    named = [one for one in artifacts if one.sha256_prefix and sha256.startswith(one.sha256_prefix)]
    artifact = next(iter(exact + named), None)
    if artifact is None:
        raise Unknown(f"{source}: sha256 {sha256} is of no file in this zoo", hint=_elsewhere(artifacts, store))
    _compare(source, artifact, sha256, size, store)
    return _kept(source, artifact, sha256, size, store)


def adopt_as(source: Path, artifact: Artifact, store: Store, look: Look) -> Adopted:
    """Copy a file into the store as this artifact, because the user says that it is. Where no hash is known that could
    tell, it must pass `look`, and its own is pinned.

    Raises NotFoundError (no such file), IntegrityError (it is not what is known of the artifact), EnvironmentFault.
    """
    sha256, size = hashed(source)
    _compare(source, artifact, sha256, size, store)
    if not store.held(artifact):
        try:
            look(artifact, source)
        except IntegrityError as error:
            raise IntegrityError(error.message, f"no hash of {artifact.name} is known, so it must open as that: {_SEEN}") from error
    return _kept(source, artifact, sha256, size, store)


def _compare(source: Path, artifact: Artifact, sha256: str, size: int, store: Store) -> None:
    """Raises IntegrityError where a file is not what is known of an artifact."""
    if wrong := misfit(artifact, store.expected(artifact), store.by_hand(artifact), size, sha256):
        raise IntegrityError(f"{source}: as {artifact.name}: {wrong}", store.way_on(artifact))


def _kept(source: Path, artifact: Artifact, sha256: str, size: int, store: Store) -> Adopted:
    if not store.blob(sha256).is_file():
        with source.open("rb") as file:
            keep(file, sha256, f"{source}: changed while it was copied", store)
    if not artifact.sha256:
        store.pin(artifact, sha256, size, f"adopted: {source.name}")
    return Adopted(source, artifact, store.blob(sha256), sha256, size, evidence(artifact, store.by_hand(artifact)))


def _elsewhere(artifacts: Iterable[Artifact], store: Store) -> str:
    """What to do with a file that no hash of this zoo's is of."""
    hint = "segzoo info NAME shows what a file must have; --zoo chooses another zoo"
    if unheld := {one.name for one in artifacts if not store.held(one)}:
        number = "1 file" if len(unheld) == 1 else f"{len(unheld)} files"
        hint = f"of {number} in this zoo no hash is known: if it is one of these, segzoo adopt --as NAME FILE; {hint}"
    return hint
