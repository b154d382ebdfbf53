"""One archive for machines without a network: files of the store, and the pins that say what they are.

A plain tar of `segzoo-bundle.json` (version, pins) and `blobs/SHA256`. Loading trusts no name in it: every
blob is hashed, everything else is refused.
"""

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

from segzoo.atomic import replacing
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError
from segzoo.manifest.artifact import Artifact
from segzoo.store.hashing import keep
from segzoo.store.store import Store

INDEX = "segzoo-bundle.json"
_MOST_INDEX = 16 << 20

Said = Callable[[int, int | None], None]


def create(target: Path, artifacts: Iterable[Artifact], store: Store, said: Said) -> int:
    """Write what the store has of these artifacts; returns how many files. The same files give the same bytes.

    Raises NotFoundError where one is not in the store, EnvironmentFault.
    """
    blobs: dict[str, Path] = {}
    pins = {}
    for artifact in artifacts:
        path = store.find(artifact)
        if path is None:
            raise NotFoundError(f"{artifact.name}: not in the store", hint="segzoo fetch it first")
        blobs[path.name] = path
        if pin := store.pins().get(artifact.name):
            pins[artifact.name] = pin
    whole = sum(path.stat().st_size for path in blobs.values())
    done = 0
    with replacing(target) as part, part.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        index = json.dumps({"version": 1, "pins": pins}, indent=2, sort_keys=True).encode()
        archive.addfile(_member(INDEX, len(index)), io.BytesIO(index))
        for sha256 in sorted(blobs):
            size = blobs[sha256].stat().st_size
            with blobs[sha256].open("rb") as blob:
                archive.addfile(_member(f"blobs/{sha256}", size), blob)
            said(done := done + size, whole)
    return len(blobs)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A file without owner, mode or date of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def load(source: Path, artifacts: Iterable[Artifact], store: Store, said: Said) -> list[str]:
    """Put a bundle's files into the store; returns their hashes. What is no right blob stops it, and is not kept.

    Pins are taken over for artifacts of this zoo whose blob came along. Raises NotFoundError, IntegrityError
    (not a bundle, cut short, a blob that is not what its name says, a pin against one that is here),
    EnvironmentFault.
    """
    if not source.is_file():
        raise NotFoundError(f"{source}: no such file")
    loaded: list[str] = []
    pins: dict[str, dict[str, object]] = {}
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            whole = source.stat().st_size
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                found = re.fullmatch("blobs/([0-9a-f]{64})", member.name)
                if file is not None and member.name == INDEX and not loaded and member.size <= _MOST_INDEX:
                    pins = _index(file.read(), source)
                elif file is not None and found:
                    keep(file, found[1], f"{source}: blob {found[1]} is not what its name says; it was not kept", store)
                    loaded.append(found[1])
                else:
                    raise IntegrityError(f"{source}: '{member.name}' has no place in a bundle")
                said(raw.tell(), whole)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise IntegrityError(f"{source}: not a bundle, or damaged: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{source}: not readable: {error.strerror or error}") from error
    if not pins and not loaded:
        raise IntegrityError(f"{source}: an empty bundle")
    for artifact in artifacts:
        pin = pins.get(artifact.name)
        if pin and pin["sha256"] in loaded and not artifact.sha256:
            sha256 = str(pin["sha256"])
            if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
                raise IntegrityError(f"{source}: pins {sha256} for {artifact.name}, whose sha256 begins {artifact.sha256_prefix}")
            store.pin(artifact, sha256, store.blob(sha256).stat().st_size, f"bundle: {source.name}")
    return loaded


def _index(text: bytes, source: Path) -> dict[str, dict[str, object]]:
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
