"""A user's own files, put into the store: recognised by their content, never by their name, or taken for what the user says."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.regular import chunks, open_regular
from segzoo.store.expectation import Expectation
from segzoo.store.hashing import copy_into_store, hashed
from segzoo.store.policy import Look
from segzoo.store.store import Store

_IF_SURE = (
    "segzoo inspect FILE shows what is in it; if you know better, segzoo fetch NAME --pin SHA256 pins a hash by hand, and adopt then takes the file"
)


@dataclass(frozen=True)
class Adopted:
    """A user's file, and the artifact that it is."""

    source: Path
    artifact: Artifact
    path: Path
    sha256: str
    size: int
    evidence: str


class Unknown(NotFoundError):
    """A file whose hash no artifact of the zoo has."""


def adopt(source: Path, artifacts: Iterable[Artifact], store: Store) -> Adopted:
    """Copy a file into the store as the artifact whose hash it has, or whose eight published digits its hash begins with.

    Raises NotFoundError (no such file, or Unknown: it is none of the artifacts), IntegrityError (the digits
    fit, but not the size or what is pinned), EnvironmentFault.
    """
    sha256, size = hashed(source)
    artifacts = list(artifacts)
    known = list(zip(artifacts, store.expectations(artifacts), strict=True))
    exact = [one for one in known if one[1].sha256 == sha256]
    named = [one for one in known if one[1].prefix and sha256.startswith(one[1].prefix)]
    if not exact + named:
        unhashed = {artifact.name for artifact, expectation in known if not expectation.has_hash}
        raise Unknown(f"{source}: no file in this zoo has its sha256, {sha256}", hint=_elsewhere(len(unhashed)))
    artifact, expectation = (exact + named)[0]
    _compare(source, artifact, expectation, sha256, size)
    return _keep(source, artifact, expectation, sha256, size, store)


def adopt_as(source: Path, artifact: Artifact, store: Store, look: Look) -> Adopted:
    """Copy a file into the store as this artifact, because the user says that it is.

    Where no hash of the artifact is known, the file must pass `look`, and its hash is pinned.
    Raises NotFoundError (no such file), IntegrityError (it is not what is known of the artifact), EnvironmentFault.
    """
    sha256, size = hashed(source)
    expectation = store.expectation(artifact)
    _compare(source, artifact, expectation, sha256, size)
    if not expectation.has_hash:
        try:
            look(artifact, source)
        except IntegrityError as error:
            hint = f"no hash of {artifact.name} is known, so the file must open as the manifest describes it: {_IF_SURE}"
            raise IntegrityError(error.message, hint) from error
    return _keep(source, artifact, expectation, sha256, size, store)


def _compare(source: Path, artifact: Artifact, expectation: Expectation, sha256: str, size: int) -> None:
    """Raises IntegrityError where a file is not what is known of an artifact."""
    if wrong := expectation.misfit(size, sha256):
        raise IntegrityError(f"{source}: as {artifact.name}: {wrong}", expectation.way_on)


def _keep(source: Path, artifact: Artifact, expectation: Expectation, sha256: str, size: int, store: Store) -> Adopted:
    """Copy the file, if its content is not in the store yet, and pin its hash where the manifest has none."""
    if store.stored(sha256) is None:
        store.require_space(size)
        with open_regular(source) as file:
            copy_into_store(chunks(file), sha256, f"{source}: changed while it was copied", store)
    if not artifact.sha256:
        store.pin(artifact, sha256, size, f"adopted: {source.name}")
    return Adopted(source, artifact, store.blob(sha256), sha256, size, expectation.evidence())


def _elsewhere(unhashed: int) -> str:
    """What to do with a file whose hash no artifact has, where so many artifacts have no known hash."""
    hint = "segzoo info NAME shows what a file must have; --zoo chooses another zoo"
    if unhashed:
        number = "1 file in this zoo has" if unhashed == 1 else f"{unhashed} files in this zoo have"
        hint = f"{number} no known hash: if it is one of these, segzoo store add --as NAME FILE; {hint}"
    return hint
