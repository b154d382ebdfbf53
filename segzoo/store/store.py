"""Where bytes live: a store addressed by content, and the lock that pins what no publisher hashed in full."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from segzoo.atomic import replacing
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.manifest.artifact import Artifact

LOCK_NAME = "segzoo.lock"
BY_HAND = "hand"


def home() -> Path:
    """`$SEGZOO_HOME`, else `$XDG_CACHE_HOME/segzoo`, else `~/.cache/segzoo`."""
    if named := os.environ.get("SEGZOO_HOME"):
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segzoo"


@dataclass(frozen=True, slots=True)
class Store:
    """Blobs under `home`, named by their SHA-256; pins in the file `lock`."""

    home: Path
    lock: Path

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def partials(self) -> Path:
        return self.home / "partials"

    def blob(self, sha256: str) -> Path:
        return self.blobs / sha256

    def expected(self, artifact: Artifact) -> str | None:
        """The full hash that an artifact must have: pinned by hand, else the manifest's, else pinned at its first download."""
        pin = self.pins().get(artifact.name)
        if pin and self.by_hand(artifact):
            return str(pin["sha256"])
        if artifact.sha256:
            return artifact.sha256
        if pin and not pin["sha256"].startswith(artifact.sha256_prefix or ""):
            said = f"{pin['sha256']} is pinned in {self.lock}, but the manifest says that it begins {artifact.sha256_prefix}"
            raise IntegrityError(f"{artifact.name}: {said}", hint="find out which of them is right")
        return pin["sha256"] if pin else None

    def held(self, artifact: Artifact) -> bool:
        """Whether any hash, or a part of one, tells an artifact from other files."""
        return artifact.sha256_prefix is not None or self.expected(artifact) is not None

    def by_hand(self, artifact: Artifact) -> bool:
        """Whether the user gave the hash that counts."""
        return self.pins().get(artifact.name, {}).get("by") == BY_HAND

    def way_on(self, artifact: Artifact) -> str | None:
        """What to do where bytes differ from a hash that is pinned; None where the hash is the manifest's."""
        if self.by_hand(artifact):
            return f"that hash was pinned by hand and stands in {self.lock}: --pin another one, or remove '{artifact.name}' from there"
        if artifact.sha256 or artifact.name not in self.pins():
            return None
        return (
            f"the manifest names no {'full ' if artifact.sha256_prefix else ''}hash of it: this one is that of the first file that came, and"
            f" stands in {self.lock}; if that file was the wrong one: segzoo fetch NAME --pin SHA256, or remove '{artifact.name}' from there"
        )

    def find(self, artifact: Artifact) -> Path | None:
        """Where the artifact is, if it is here; its bytes are not looked at."""
        sha256 = self.expected(artifact)
        if sha256 is None:
            return None
        return path if (path := self.blob(sha256)).is_file() else None

    def pins(self) -> dict[str, Mapping[str, Any]]:
        """What is pinned: published file name to sha256, size and the address that it came from."""
        if not self.lock.is_file():
            return {}
        try:
            pins = json.loads(self.lock.read_text(encoding="utf-8"))["pins"]
            for name, pin in pins.items():
                if not re.fullmatch("[0-9a-f]{64}", pin["sha256"]):  # it becomes the name of a file
                    raise ValueError(f"{name}: no sha256")
            return dict(pins)
        except OSError as error:
            raise EnvironmentFault(f"{self.lock}: not readable: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IntegrityError(f"{self.lock}: not a lock file that segzoo wrote: {error!r}", hint="restore it, or remove it to pin anew") from error

    def pin(self, artifact: Artifact, sha256: str, size: int, url: str) -> None:
        """Remember the hash of a first download. Raises IntegrityError where another is pinned already."""
        with self._pinning(artifact) as pins:
            if artifact.name in pins and pins[artifact.name]["sha256"] != sha256:
                was = f"{pins[artifact.name]['sha256']} is pinned in {self.lock}"
                raise IntegrityError(f"{artifact.name}: {was}, found {sha256}", self.way_on(artifact))
            pins[artifact.name] = {**pins.get(artifact.name, {}), "sha256": sha256, "size": size, "url": url}

    def pin_by_hand(self, artifact: Artifact, sha256: str) -> None:
        """Accept this hash and no other from now on: against a third party's, against what was pinned before.

        Raises IntegrityError where it cannot be: against the digits in the published file name, or the publisher's own hash.
        """
        if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
            raise IntegrityError(f"{artifact.name}: its publisher named it for a sha256 that begins {artifact.sha256_prefix}, not {sha256}")
        if artifact.sha256 and artifact.sha256 != sha256 and not artifact.third_party:
            raise IntegrityError(f"{artifact.name}: the manifest's sha256 is the publisher's own, {artifact.sha256}, not {sha256}")
        with self._pinning(artifact) as pins:
            pins[artifact.name] = {"sha256": sha256, "by": BY_HAND}

    @contextmanager
    def _pinning(self, artifact: Artifact) -> Iterator[dict[str, Any]]:
        """The pins, to be changed while nobody else does."""
        try:
            self.lock.parent.mkdir(parents=True, exist_ok=True)
            guard = FileLock(f"{self.lock}.guard").acquire()
        except OSError as error:
            raise EnvironmentFault(f"{self.lock}: cannot pin {artifact.name} here: {error.strerror}") from error
        with guard:
            pins = self.pins()
            yield pins
            with replacing(self.lock) as part:
                part.write_text(json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
