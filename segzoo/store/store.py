"""The store, where files are named by their content, and the lock file, which pins hashes that no publisher gave in full."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.atomic import alone, replacing
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.manifest.artifact import Artifact
from segzoo.store.expectation import Expectation, Origin, Pin, expect, way_on
from segzoo.store.lock import LOCK_NAME as LOCK_NAME
from segzoo.store.lock import read_pins

NOT_BY_A_PIN = "a pin stands in for a hash that the manifest does not have; where the manifest has a wrong one, mend it there"
Progress = Callable[[int, int | None], None]
"""Gets the bytes done so far, and the bytes in all, if they are known."""


def home() -> Path:
    """`$SEGZOO_HOME`, else `$XDG_CACHE_HOME/segzoo`, else `~/.cache/segzoo`."""
    if named := os.environ.get("SEGZOO_HOME"):
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segzoo"


def receipts() -> Path:
    """The folder of receipts: `$SEGZOO_RECEIPTS`, else `receipts` in the store's folder. A store that cannot be written needs the former."""
    named = os.environ.get("SEGZOO_RECEIPTS")
    return Path(named).expanduser().absolute() if named else home() / "receipts"


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

    def stored(self, sha256: str | None) -> Path | None:
        """The file of this hash, if it is here; its bytes are not looked at."""
        return path if sha256 and (path := self.blob(sha256)).is_file() else None

    def find(self, artifact: Artifact) -> Path | None:
        """Where the artifact is, if it is here; its bytes are not looked at."""
        return self.stored(self.expectation(artifact).sha256)

    def expectation(self, artifact: Artifact) -> Expectation:
        """What the artifact's bytes must be. Reads the lock file once. Raises IntegrityError, EnvironmentFault."""
        return self.expectations([artifact])[0]

    def expectations(self, artifacts: Iterable[Artifact]) -> list[Expectation]:
        """What the bytes of several artifacts must be, in their order. Reads the lock file once."""
        pins = self.pins()
        return [expect(artifact, pins.get(artifact.name), self.lock) for artifact in artifacts]

    def require_space(self, size: int | None) -> None:
        """Raises EnvironmentFault where fewer bytes than `size` are free. An unknown size passes."""
        folder = next(path for path in (self.home, *self.home.parents) if path.exists())
        free = shutil.disk_usage(folder).free
        if size is not None and free < size:
            raise EnvironmentFault(f"{self.home}: {free:,} bytes free, {size:,} needed", hint="free some space, or set SEGZOO_HOME")

    def pins(self) -> dict[str, Pin]:
        """What is pinned, by the published file name. Raises EnvironmentFault, IntegrityError."""
        return read_pins(self.lock)

    def pin(self, artifact: Artifact, sha256: str, size: int, url: str) -> None:
        """Pin the hash of a first download. Raises IntegrityError where another hash is pinned already."""
        with self._pinning(artifact) as pins:
            if artifact.name in pins and pins[artifact.name]["sha256"] != sha256:
                was = f"{pins[artifact.name]['sha256']} is pinned in {self.lock}"
                raise IntegrityError(f"{artifact.name}: {was}, found {sha256}", way_on(artifact, pins[artifact.name], self.lock))
            pins[artifact.name] = {**pins.get(artifact.name, {}), "sha256": sha256, "size": size, "url": url}

    def pin_by_hand(self, artifact: Artifact, sha256: str) -> None:
        """Accept this hash and no other from now on. It replaces an earlier pin.

        Raises IntegrityError where it contradicts the manifest: the digits in the published file name, or the full hash.
        """
        if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
            raise IntegrityError(f"{artifact.name}: its publisher named it for a sha256 that begins {artifact.sha256_prefix}, not {sha256}")
        if artifact.sha256 and artifact.sha256 != sha256:
            whose = "from a third party" if artifact.third_party else "the publisher's own"
            raise IntegrityError(f"{artifact.name}: the manifest's sha256 is {whose}, {artifact.sha256}, not {sha256}", hint=NOT_BY_A_PIN)
        with self._pinning(artifact) as pins:
            pins[artifact.name] = {"sha256": sha256, "by": Origin.HAND.value}

    @contextmanager
    def _pinning(self, artifact: Artifact) -> Iterator[dict[str, Any]]:
        """The pins, to be changed in the block and then written. No other process changes them meanwhile."""
        with ExitStack() as stack:
            try:
                self.lock.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(alone(self.lock))
            except OSError as error:
                raise EnvironmentFault(f"{self.lock}: cannot pin {artifact.name} here: {error.strerror}") from error
            pins = self.pins()
            yield pins
            with replacing(self.lock) as part:
                part.write_text(json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
