"""A file that is in the store and was verified."""

from dataclasses import dataclass
from pathlib import Path

from segzoo.manifest.artifact import Artifact


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file in the store. Of an index with its shards, `sha256` and `size` are those of all files together.

    `evidence` says in words what stands behind its bytes. `url` is the address that it came from now, None where it was in the store;
    `failures` are the other addresses, each with its reason. `received` counts bytes over the network, `resumed` those of an earlier run.
    """

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
