"""One archive for machines without a network: files of the store, and the pins that say what they are.

It is a plain tar of `segzoo-bundle.json` (version, pins) and `blobs/SHA256`. Loading trusts no name in it: every
blob is hashed, and anything else is refused.
"""

import io
import json
import re
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from segzoo.atomic import replacing, sweep_once
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, UsageError
from segzoo.json_in import parse_json
from segzoo.manifest.artifact import Artifact
from segzoo.regular import NotRegular, chunks, no_file, open_regular, size_of
from segzoo.store.hashing import copy_into_store
from segzoo.store.store import Progress, Store
from segzoo.store.tarred import Member, members

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
    whole, done = sum(_size(path) for path in blobs.values()), 0
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_member(INDEX, len(index)), io.BytesIO(index))
        for sha256 in sorted(blobs):
            with _opened(blobs[sha256]) as blob:
                size = size_of(blob)
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


def _opened(path: Path) -> BufferedReader:
    """A blob. Raises NotFoundError where another process has removed it since it was found."""
    try:
        return open_regular(path, links=False)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: removed from the store by another process", hint="segzoo fetch it again") from error


def _size(path: Path) -> int:
    with _opened(path) as blob:
        return size_of(blob)


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
    try:
        with open_regular(source) as file:
            return _take_in(source, file, artifacts, store, said)
    except FileNotFoundError as error:
        raise NotFoundError(f"{source}: no such file") from error
    except NotRegular as error:
        raise no_file(source) or NotFoundError(f"{source}: {error.strerror}") from error
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror or error}") from error


def _take_in(source: Path, file: IO[bytes], artifacts: Iterable[Artifact], store: Store, said: Progress) -> list[str]:
    """Copy the blobs of an open bundle into the store, and take its pins over. Returns the hashes of the blobs."""
    index, blobs = _contents(source, members(file, size_of(file), source))
    file.seek(index.start)
    pins = _index(file.read(index.size), source)
    if not pins and not blobs:
        raise IntegrityError(f"{source}: an empty bundle")
    store.require_space(sum(member.size for sha256, member in blobs.items() if store.stored(sha256) is None))
    whole, done = sum(member.size for member in blobs.values()), 0
    for sha256, member in blobs.items():
        file.seek(member.start)
        copy_into_store(chunks(file, member.size), sha256, f"{source}: blob {sha256} is not what its name says; it was not kept", store)
        said(done := done + member.size, whole)
    _pin_loaded(source, artifacts, blobs, pins, store)
    return list(blobs)


def _contents(source: Path, found: Sequence[Member]) -> tuple[Member, dict[str, Member]]:
    """The index of a bundle, and its blobs by their hashes. Raises IntegrityError where something is missing, or has no place in a bundle."""
    if not found or found[0].name != INDEX or found[0].size > _MOST_INDEX:
        raise IntegrityError(f"{source}: not a bundle: it does not begin with {INDEX}")
    blobs: dict[str, Member] = {}
    for member in found[1:]:
        name = re.fullmatch("blobs/([0-9a-f]{64})", member.name)
        if name is None or name[1] in blobs:
            raise IntegrityError(f"{source}: {member.name!a:.100} has no place in a bundle{'' if name is None else ' twice'}")
        blobs[name[1]] = member
    return found[0], blobs


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
    index = parse_json(text, where=f"{source}: {INDEX}")
    try:
        if index["version"] != 1:
            raise ValueError(f"version {index['version']}")
        pins = {str(name): dict(pin) for name, pin in index["pins"].items()}
        if not all(re.fullmatch("[0-9a-f]{64}", str(pin["sha256"])) for pin in pins.values()):
            raise ValueError("a pin without a sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{source}: {INDEX} is none that segzoo wrote: {error!r}") from error
    return pins
