"""What the bytes of an artifact must be, and who says so. Fetching and adopting decide it once, here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from segzoo.errors import IntegrityError
from segzoo.manifest.artifact import Artifact

Pin = Mapping[str, Any]


class Origin(StrEnum):
    """Who gave the full sha256 of an artifact. `HAND` is what the lock file says under `by`."""

    MANIFEST = "manifest"
    HAND = "hand"
    FIRST_USE = "first use"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is known of an artifact's bytes. `sha256` and its `origin` are None where no full hash is known.

    `prefix` is the part of the hash that the publisher put into the file name. `way_on` says what the user can do
    where bytes differ from a pinned hash.
    """

    sha256: str | None
    origin: Origin | None
    prefix: str | None
    size: int | None
    way_on: str | None = None

    @property
    def has_hash(self) -> bool:
        """Whether a full hash, or a part of one, tells the artifact from other files."""
        return self.sha256 is not None or self.prefix is not None

    def misfit(self, size: int, sha256: str) -> str | None:
        """How a file of this size and hash differs from what is expected; None where it does not."""
        if self.size is not None and size != self.size:
            return f"expected {self.size:,} bytes, found {size:,}"
        if self.sha256 is not None and sha256 != self.sha256:
            pinned = "" if self.origin is Origin.MANIFEST else " pinned by hand" if self.origin is Origin.HAND else " pinned on first use"
            return f"expected sha256 {self.sha256}{pinned}, found {sha256}"
        if self.prefix and not sha256.startswith(self.prefix):
            return f"expected a sha256 that begins {self.prefix}, found {sha256}"
        return None

    def evidence(self, checksums: Sequence[str] = ()) -> str:
        """What the right bytes were compared with, in words. `checksums` are the names of the server's that they fit.

        A prefix shows that it is 32 bits: they stop accidents, not an attacker.
        """
        if self.origin is Origin.HAND:
            return "sha256 pinned by hand"
        if self.origin is Origin.MANIFEST:
            return "sha256"
        known = "prefix (32 bits)" if self.prefix else "no hash known"
        server = f", the server's {' and '.join(checksums)}" if checksums else ""
        return f"{known}{server}, pinned on first use"


def expect(artifact: Artifact, pin: Pin | None, lock: Path) -> Expectation:
    """Decide whose hash counts: the manifest's, else one that is pinned, by hand or on first use. No pin overrides a full hash of the manifest.

    `pin` is the artifact's entry in the file `lock`. Raises IntegrityError where a pin made on first use contradicts the manifest's prefix.
    """
    origin = origin_of(artifact, pin)
    sha256 = artifact.sha256 if pin is None or origin is Origin.MANIFEST else str(pin["sha256"])
    if origin is Origin.FIRST_USE and sha256 and not sha256.startswith(artifact.sha256_prefix or ""):
        said = f"{sha256} is pinned in {lock}, but the manifest says that it begins {artifact.sha256_prefix}"
        raise IntegrityError(f"{artifact.name}: {said}", hint="find out which of them is right")
    return Expectation(sha256, origin, artifact.sha256_prefix, artifact.size, way_on(artifact, pin, lock))


def origin_of(artifact: Artifact, pin: Pin | None) -> Origin | None:
    """Who gave the hash that counts; None where there is none."""
    if artifact.sha256:
        return Origin.MANIFEST
    return None if pin is None else Origin.HAND if pin.get("by") == Origin.HAND else Origin.FIRST_USE


def way_on(artifact: Artifact, pin: Pin | None, lock: Path) -> str | None:
    """What the user can do where bytes differ from a pinned hash; None where no pin counts."""
    origin = origin_of(artifact, pin)
    if origin is Origin.HAND:
        return f"that hash was pinned by hand and stands in {lock}: --pin another one, or remove '{artifact.name}' from there"
    if origin is Origin.FIRST_USE:
        return (
            f"the manifest names no {'full ' if artifact.sha256_prefix else ''}hash of it: this hash is from the first file that came, and"
            f" stands in {lock}; if that file was wrong: segzoo fetch NAME --pin SHA256, or remove '{artifact.name}' from there"
        )
    return None
