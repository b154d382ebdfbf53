"""One archive for machines without a network: files of the store, and the pins that say what they are.

It is a plain tar of `segzoo-bundle.json` (version, pins) and `blobs/SHA256`. Loading trusts no name in it: every
blob is hashed, and anything else is refused.
"""

import io
import json
import re
import tarfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from segzoo.atomic import replacing, sweep_once
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, UsageError
from segzoo.manifest.artifact import Artifact
from segzoo.store.hashing import copy_into_store
from segzoo.store.store import Progress, Store

INDEX = "segzoo-bundle.json"
_MOST_INDEX = 16 << 20

Pins = Mapping[str, Mapping[str, object]]


def create_bundle(target: Path, artifacts: Iterable[Artifact], store: Store, said: Progress, force: bool = False) -> tuple[int, bool]:
    """Write what the store has of these artifacts. The same files give the same bytes. Returns how many files, and whether the target
    was there already with just these bytes: it then stays.

    Raises NotFoundError where one is not in the store, UsageError where the target is another file and not to be replaced by `force`,
    EnvironmentFault.
    """
    artifacts = list(artifacts)
    blobs: dict[str, Path] = {}
    for artifact, expectation in zip(artifacts, store.expectations(artifacts), strict=True):
        path = store.stored(expectation.sha256)
        if path is None:
            raise NotFoundError(f"{artifact.name}: not in the store", hint="segzoo fetch it first")
        blobs[path.name] = path
    pins = {name: pin for name, pin in store.pins().items() if name in {artifact.name for artifact in artifacts}}
    index = json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True).encode()
    if (target.exists() or target.is_symlink()) and not force:
        sweep_once(target.parent)
        if not _holds(target, index, blobs, said):
            raise UsageError(f"{target}: exists already, and is another file", hint="give --force to replace it")
        return len(blobs), True
    with replacing(target) as part, part.open("wb") as file:
        _pack(file, index, blobs, said)
    return len(blobs), False


def _pack(file: Any, index: bytes, blobs: Mapping[str, Path], said: Progress) -> None:
    """Write the archive: its index, then the blobs by their hashes."""
    whole, done = sum(path.stat().st_size for path in blobs.values()), 0
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_member(INDEX, len(index)), io.BytesIO(index))
        for sha256 in sorted(blobs):
            size = blobs[sha256].stat().st_size
            with blobs[sha256].open("rb") as blob:
                archive.addfile(_member(f"blobs/{sha256}", size), blob)
            said(done := done + size, whole)


def _holds(target: Path, index: bytes, blobs: Mapping[str, Path], said: Progress) -> bool:
    """Whether the target has just the bytes that would be written. It is read up to the first that differs."""
    if not target.is_file():
        return False
    try:
        with target.open("rb") as there:
            _pack(_Compared(there), index, blobs, said)
            return not there.read(1)
    except _Differs:
        return False
    except OSError as error:
        raise EnvironmentFault(f"{target}: not readable: {error.strerror or error}") from error


class _Differs(Exception):
    """What is written is not what another file holds."""


class _Compared(io.RawIOBase):
    """A file that keeps nothing, and compares what is written with what another file holds."""

    def __init__(self, there: IO[bytes]):
        self.there = there

    def write(self, data: Any) -> int:
        if self.there.read(len(data)) != data:
            raise _Differs
        return len(data)

    def tell(self) -> int:
        return self.there.tell()


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A tar header without owner, mode or date of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def load_bundle(source: Path, artifacts: Iterable[Artifact], store: Store, said: Progress) -> list[str]:
    """Put a bundle's files into the store; returns their hashes. It stops at the first that is not what its name says.

    Pins are taken over for artifacts of this zoo whose file came along. Raises NotFoundError, IntegrityError
    (not a bundle, cut short, a blob that is not what its name says, a pin against one that is here),
    EnvironmentFault.
    """
    if not source.is_file():
        raise NotFoundError(f"{source}: no such file")
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            loaded, pins = _take_in(source, raw, archive, store, said)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise IntegrityError(f"{source}: not a bundle, or damaged: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror or error}") from error
    if not pins and not loaded:
        raise IntegrityError(f"{source}: an empty bundle")
    _pin_loaded(source, artifacts, loaded, pins, store)
    return loaded


def _take_in(source: Path, raw: IO[bytes], archive: tarfile.TarFile, store: Store, said: Progress) -> tuple[list[str], Pins]:
    """Copy the blobs of an open bundle into the store; returns their hashes, and the pins of the bundle's index."""
    loaded: list[str] = []
    pins: Pins = {}
    whole = source.stat().st_size
    for member in archive:
        file = archive.extractfile(member) if member.isreg() else None
        found = re.fullmatch("blobs/([0-9a-f]{64})", member.name)
        if file is not None and member.name == INDEX and not loaded and member.size <= _MOST_INDEX:
            pins = _index(file.read(), source)
        elif file is not None and found:
            copy_into_store(file, found[1], f"{source}: blob {found[1]} is not what its name says; it was not kept", store)
            loaded.append(found[1])
        else:
            raise IntegrityError(f"{source}: '{member.name}' has no place in a bundle")
        said(raw.tell(), whole)
    return loaded, pins


def _pin_loaded(source: Path, artifacts: Iterable[Artifact], loaded: Collection[str], pins: Pins, store: Store) -> None:
    """Pin what the bundle pinned, for artifacts whose file it holds and whose full hash the manifest does not name."""
    for artifact in artifacts:
        if artifact.sha256 or artifact.name not in pins:
            continue
        sha256 = str(pins[artifact.name]["sha256"])
        if sha256 not in loaded:
            continue
        if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
            raise IntegrityError(f"{source}: pins {sha256} for {artifact.name}, whose sha256 begins {artifact.sha256_prefix}")
        store.pin(artifact, sha256, store.blob(sha256).stat().st_size, f"bundle: {source.name}")


def _index(text: bytes, source: Path) -> Pins:
    """The pins in a bundle's index. Raises IntegrityError where segzoo cannot have written it."""
    try:
        index = json.loads(text)
        if index["version"] != 1:
            raise ValueError(f"version {index['version']}")
        pins = {str(name): dict(pin) for name, pin in index["pins"].items()}
        if not all(re.fullmatch("[0-9a-f]{64}", str(pin["sha256"])) for pin in pins.values()):
            raise ValueError("a pin without a sha256")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{source}: {INDEX} is none that segzoo wrote: {error!r}") from error
    return pins
