"""A verified file, and in words what its bytes were held to."""

from dataclasses import dataclass
from pathlib import Path

from segzoo.manifest.artifact import Artifact


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file in the store. `evidence` says what its bytes were held to; `received` counts what came over the network."""

    artifact: Artifact
    path: Path
    sha256: str
    size: int
    evidence: str
    url: str | None
    failures: tuple[str, ...] = ()
    received: int = 0
    resumed: int = 0

    @property
    def cached(self) -> bool:
        return self.url is None


def evidence(artifact: Artifact, by_hand: bool, held: tuple[str, ...] = ()) -> str:
    """What stands behind an artifact's bytes, in words. Thirty-two bits stop accidents, not an adversary."""
    if by_hand:
        return "sha256 pinned by hand"
    if artifact.sha256:
        return "sha256"
    known = "prefix (32 bits)" if artifact.sha256_prefix else "no hash known"
    server = f", the server's {' and '.join(held)}" if held else ""
    return f"{known}{server}, pinned on first use"


def misfit(artifact: Artifact, expected: str | None, by_hand: bool, size: int, sha256: str) -> str | None:
    """How bytes differ from what is known of an artifact."""
    if artifact.size is not None and size != artifact.size:
        return f"expected {artifact.size:,} bytes, found {size:,}"
    if expected is not None and sha256 != expected:
        pinned = " pinned by hand" if by_hand else "" if expected == artifact.sha256 else " pinned on first use"
        return f"expected sha256 {expected}{pinned}, found {sha256}"
    if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
        return f"expected a sha256 that begins {artifact.sha256_prefix}, found {sha256}"
    return None
