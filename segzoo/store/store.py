"""The store, where files are named by their content, and the lock file, which pins hashes that no publisher gave in full."""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.atomic import alone
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.manifest.artifact import Artifact, joint_sha256
from segzoo.store.expectation import Expectation, Origin, Pin, expect, way_on
from segzoo.store.lock import LOCK_NAME as LOCK_NAME
from segzoo.store.lock import read_lock

NOT_BY_A_PIN = "a pin stands in for a hash that the manifest does not have; where the manifest has a wrong one, mend it there"
_SHA256 = re.compile("[0-9a-f]{64}")
Progress = Callable[[int, int | None], None]
"""Gets the bytes done so far, and the bytes in all, if they are known."""


def home() -> Path:
    """`$SEGZOO_HOME`, else `$XDG_CACHE_HOME/segzoo`, else `~/.cache/segzoo`. Raises EnvironmentFault where the user has no home."""
    if named := os.environ.get("SEGZOO_HOME"):
        return _named("SEGZOO_HOME", named)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "segzoo"
    return _named("SEGZOO_HOME", "~/.cache/segzoo")


def receipts() -> Path:
    """The folder of receipts: `$SEGZOO_RECEIPTS`, else `receipts` in the store's folder. A store that cannot be written needs the former."""
    named = os.environ.get("SEGZOO_RECEIPTS")
    return _named("SEGZOO_RECEIPTS", named) if named else home() / "receipts"


def _named(variable: str, path: str) -> Path:
    """A folder whose name may begin with `~`. Raises EnvironmentFault for a user without a home, as in a container."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        hint = f"set {variable} to a folder that you may write, as an absolute path"
        raise EnvironmentFault(f"{path}: the system knows no home of this user, and HOME is not set", hint) from error


def _is_blob(path: Path, fact: os.stat_result) -> bool:
    return _SHA256.fullmatch(path.name) is not None and stat.S_ISREG(fact.st_mode)


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
        """Where the file of this hash belongs. Raises IntegrityError for what is no hash: it may come from a stranger, and lead elsewhere."""
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise IntegrityError(f"{sha256!r:.80} is no sha256: expected 64 digits from 0-9a-f")
        return self.blobs / sha256

    def stored(self, sha256: str | None) -> Path | None:
        """The file of this hash, if it is here; its bytes are not looked at. A link, a pipe or a folder in its place is not here.

        Raises EnvironmentFault where the folder may not be looked into.
        """
        if sha256 is None:
            return None
        path = self.blob(sha256)
        with self.readable():
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        return None

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Ends the block quietly where something is not there, or no longer: other processes remove it too.

        Raises EnvironmentFault where this user may not read it.
        """
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            path = error.filename or self.blobs
            hint = "its owner may give you the right (chmod), or set SEGZOO_HOME to a store of your own"
            raise EnvironmentFault(f"{path}: may not be read: {error.strerror or error}", hint) from error

    def files(self) -> list[tuple[str, int]]:
        """The files in the store, as hash and size, sorted by hash. Raises EnvironmentFault where they may not be listed."""
        return [(path.name, fact.st_size) for path, fact in self._listed() if _is_blob(path, fact)]

    def remove(self, sha256: str, why: str = "") -> None:
        """Remove the file of this hash, if it is there. Raises EnvironmentFault where this user may not; `why` begins the message."""
        try:
            self.blob(sha256).unlink(missing_ok=True)
        except OSError as error:
            hint = "its owner can remove it, or set SEGZOO_HOME to a store of your own"
            raise EnvironmentFault(f"{self.blob(sha256)}: {why}may not be removed: {error.strerror}", hint) from error

    def strangers(self) -> list[Path]:
        """What stands among the blobs and is none: another name, a link, a pipe, a folder. Raises EnvironmentFault as `files` does."""
        return [path for path, fact in self._listed() if not _is_blob(path, fact)]

    def _listed(self) -> list[tuple[Path, os.stat_result]]:
        """What stands in the folder of blobs, sorted by name. What another process removes meanwhile is left out."""
        found = []
        with self.readable():
            for path in sorted(self.blobs.iterdir()):
                with suppress(FileNotFoundError):
                    fact = path.lstat()
                    if not (path.name.startswith(".") and stat.S_ISREG(fact.st_mode)):  # NFS keeps a removed file that is open, macOS has its own
                        found.append((path, fact))
        return found

    def find(self, artifact: Artifact) -> Path | None:
        """Where the artifact is, if it is here with all its shards; its bytes are not looked at."""
        expectation = self.expectation(artifact)
        if not self.holds(artifact, expectation):
            return None
        return self.together(artifact.name, artifact.hashes or {artifact.name: str(expectation.sha256)})

    def holds(self, artifact: Artifact, expectation: Expectation) -> bool:
        """Whether the artifact is here with all its shards; their bytes are not looked at."""
        return all(self.stored(sha256) is not None for sha256 in (expectation.sha256, *(one.sha256 for one in artifact.shards)))

    def together(self, name: str, hashes: Mapping[str, str]) -> Path:
        """The file of this name in the store. Of several files, such as an index and its shards, each stands under its own name in a folder,
        as a link to what the store has.

        Raises EnvironmentFault where the folder cannot be written.
        """
        if len(hashes) == 1:
            return self.blob(hashes[name])
        folder = self.home / "sharded" / joint_sha256(hashes)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for one, sha256 in hashes.items():
                with suppress(FileExistsError):
                    (folder / one).symlink_to(Path("..", "..", "blobs", sha256))
        except OSError as error:
            hint = "weights in shards need a store that you may write: set SEGZOO_HOME to one of your own"
            raise EnvironmentFault(f"{folder}: cannot put shards together here: {error.strerror}", hint) from error
        return folder / name

    def expectation(self, artifact: Artifact) -> Expectation:
        """What the artifact's bytes must be. Reads one file of pins. Raises IntegrityError, EnvironmentFault."""
        return self.expectations([artifact])[0]

    def expectations(self, artifacts: Iterable[Artifact]) -> list[Expectation]:
        """What the bytes of several artifacts must be, in their order. Reads each file of pins once."""
        lock = read_lock(self.lock)
        return [expect(artifact, lock.get(artifact.name), lock.page(artifact.name)) for artifact in artifacts]

    def require_space(self, size: int | None) -> None:
        """Raises EnvironmentFault where fewer bytes than `size` are free. An unknown size passes."""
        folder = next(path for path in (self.home, *self.home.parents) if path.exists())
        free = shutil.disk_usage(folder).free
        if size is not None and free < size:
            raise EnvironmentFault(f"{self.home}: {free:,} bytes free, {size:,} needed", hint="free some space, or set SEGZOO_HOME")

    def pins(self) -> dict[str, Pin]:
        """What is pinned, by the published file name. Raises EnvironmentFault, IntegrityError."""
        return read_lock(self.lock).every()

    def pinned(self, name: str) -> Pin | None:
        """What is pinned for one published file name."""
        return read_lock(self.lock).get(name)

    def pin(self, artifact: Artifact, sha256: str, size: int, url: str) -> None:
        """Pin the hash of a first download. Raises IntegrityError where another hash is pinned already."""
        with self._pinning(artifact) as pins:
            if artifact.name in pins and pins[artifact.name]["sha256"] != sha256:
                page = read_lock(self.lock).page(artifact.name)
                was = f"{pins[artifact.name]['sha256']} is pinned in {page}"
                raise IntegrityError(f"{artifact.name}: {was}, found {sha256}", way_on(artifact, pins[artifact.name], page))
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
        """The pins on the artifact's page, to be changed in the block and then written. No other process changes them meanwhile."""
        try:
            with alone(self.lock):
                lock = read_lock(self.lock)
                yield lock.pins(artifact.name)
                lock.write(artifact.name)
        except EnvironmentFault as error:
            raise EnvironmentFault(f"{self.lock}: cannot pin {artifact.name} here: {error.message}", error.hint) from error
