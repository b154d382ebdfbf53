"""One artifact to a verified path: mirrors in order, hashed while it streams, renamed when right."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from segzoo.atomic import keep, part_file
from segzoo.errors import EnvironmentFault, IntegrityError, NetworkError, NotFoundError, SegzooError
from segzoo.store import Store
from segzoo.zoo import Artifact

Progress = Callable[[int, int | None], None]
_CHUNK = 1 << 20
_CONNECT_SECONDS, _READ_SECONDS = 10, 30


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file in the store. `evidence` says what its bytes were held to."""

    artifact: Artifact
    path: Path
    sha256: str
    size: int
    evidence: str
    url: str | None
    failures: tuple[str, ...] = ()

    @property
    def cached(self) -> bool:
        return self.url is None


class _MirrorError(Exception):
    """One address did not deliver; the next is tried."""

    def __init__(self, reason: str, kind: type[SegzooError] = NetworkError):
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in reason))  # a server may send escape codes
        self.kind = kind


def evidence(artifact: Artifact) -> str:
    """What stands behind an artifact's bytes, in words. Thirty-two bits stop accidents, not an adversary."""
    if artifact.sha256:
        return "sha256"
    return "prefix (32 bits), pinned on first use" if artifact.sha256_prefix else "no hash known, pinned on first use"


def fetch(artifact: Artifact, store: Store, base: Path, progress: Progress | None = None) -> Fetched:
    """The artifact in the store, from there or from the first address that delivers the right bytes.

    A file that is here already is hashed again; one that has changed on disk is fetched anew. `base` is
    the folder that relative addresses start from. `progress` gets (bytes done, bytes in all or None).

    Raises IntegrityError (some address delivered wrong bytes and none the right ones), NetworkError,
    NotFoundError (local files only, and none is there), EnvironmentFault (disk, permission).
    """
    said = progress or (lambda done, size: None)
    if (here := _in_store(artifact, store)) is not None:
        return here
    failures: list[tuple[str, _MirrorError]] = []
    for mirror in artifact.urls:
        try:
            sha256, size = _deliver(mirror.url, artifact, store, base, said)
        except _MirrorError as error:
            failures.append((mirror.url, error))
            continue
        if not artifact.sha256:
            store.pin(artifact, sha256, size, mirror.url)
        told = tuple(f"{url}: {error}" for url, error in failures)
        return Fetched(artifact, store.blob(sha256), sha256, size, evidence(artifact), mirror.url, told)
    raise _undelivered(artifact, failures)


def _in_store(artifact: Artifact, store: Store) -> Fetched | None:
    """The artifact if the store has it and its bytes are right still; a blob that has changed is taken away."""
    if (path := store.find(artifact)) is None:
        return None
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if sha256 == path.name:
            return Fetched(artifact, path, sha256, size, evidence(artifact), None)
        path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process was the first to take it away
        pass
    except OSError as error:
        raise EnvironmentFault(f"{path}: not readable: {error.strerror}") from error
    return None


def _undelivered(artifact: Artifact, failures: list[tuple[str, _MirrorError]]) -> SegzooError:
    """The gravest of what went wrong, with every address tried and why it failed."""
    kinds = {error.kind for _, error in failures}
    kind = next(kind for kind in (IntegrityError, NetworkError, NotFoundError) if kind in kinds)
    tried = "\n".join(f"  {url}: {error}" for url, error in failures)
    hint = {
        IntegrityError: "the bytes are not those that the manifest names; nothing was kept",
        NetworkError: "check the connection and the proxy settings, or try again later",
        NotFoundError: "the manifest names a file that is not there",
    }[kind]
    return kind(f"{artifact.name}: no address delivered it:\n{tried}", hint)


def _deliver(url: str, artifact: Artifact, store: Store, base: Path, said: Progress) -> tuple[str, int]:
    """Stream one address into the store; the blob has its name only after size and hash fit."""
    expected = store.expected(artifact)
    _check_space(store, artifact.size)
    digest, size = hashlib.sha256(), 0
    with part_file(store.blobs, artifact.name) as part:
        head = b""
        with part.open("wb") as file:
            for chunk in _chunks(url, base, artifact.size):
                head = head or chunk[:64]
                size += len(chunk)
                if artifact.size is not None and size > artifact.size:
                    raise _MirrorError(f"expected {artifact.size:,} bytes, it sends more{_looks(head)}", IntegrityError)
                digest.update(chunk)
                file.write(chunk)
                said(size, artifact.size)
        sha256 = digest.hexdigest()
        _compare(artifact, expected, size, sha256, head)
        keep(part, store.blob(sha256))
    return sha256, size


def _compare(artifact: Artifact, expected: str | None, size: int, sha256: str, head: bytes) -> None:
    if artifact.size is not None and size != artifact.size:
        raise _MirrorError(f"expected {artifact.size:,} bytes, found {size:,}{_looks(head)}", IntegrityError)
    if expected is not None and sha256 != expected:
        pinned = "" if artifact.sha256 else " pinned on first use"
        raise _MirrorError(f"expected sha256 {expected}{pinned}, found {sha256}{_looks(head)}", IntegrityError)
    if artifact.sha256_prefix and not sha256.startswith(artifact.sha256_prefix):
        raise _MirrorError(f"expected a sha256 that begins {artifact.sha256_prefix}, found {sha256}{_looks(head)}", IntegrityError)
    if size == 0:
        raise _MirrorError("an empty file", IntegrityError)
    if expected is None and not artifact.sha256_prefix and (page := _looks(head)):
        raise _MirrorError(f"no hash to hold it to{page}", IntegrityError)


def _looks(head: bytes) -> str:
    return "; it looks like an HTML page" if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<head") else ""


def _chunks(url: str, base: Path, size: int | None) -> Iterator[bytes]:
    if url.startswith(("http://", "https://")):
        yield from _download(url, size)
        return
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else base / url
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise _MirrorError("no such file", NotFoundError) from error
    except OSError as error:
        raise _MirrorError(f"not readable: {error.strerror}", NotFoundError) from error
    except ValueError as error:  # a NUL in the name
        raise _MirrorError(f"no name of a file: {error}", NotFoundError) from error


def _download(url: str, size: int | None) -> Iterator[bytes]:
    """The body of an http(s) address. A redirect from https to http is not followed into use."""
    try:
        with requests.get(url, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS), headers={"Accept-Encoding": "identity"}) as response:
            if url.startswith("https:") and not response.url.startswith("https:"):
                raise _MirrorError(f"redirects from https to {response.url}")
            if response.status_code != requests.codes.ok:
                raise _MirrorError(f"HTTP {response.status_code} {response.reason}")
            promised = _promised(response)
            if size is not None and promised is not None and promised != size:
                page = "; it is an HTML page" if "html" in response.headers.get("Content-Type", "") else ""
                raise _MirrorError(f"expected {size:,} bytes, it promises {promised:,}{page}", IntegrityError)
            received = 0
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                yield chunk
            if promised is not None and received < promised:
                raise _MirrorError(f"the connection ended after {received:,} of {promised:,} bytes")
    except (requests.RequestException, ValueError) as error:  # requests lets ValueErrors out for a malformed Location
        raise _MirrorError(_cause(error)) from error


def _promised(response: requests.Response) -> int | None:
    """The size of the body if the server says one that can be believed; of an encoded body it says another."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 20 and "Content-Encoding" not in response.headers else None


def _cause(error: BaseException) -> str:
    """The innermost reason of a chain of network errors, which is the one a person can use."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    return f"{type(error).__name__}: {error}"[:200]


def _check_space(store: Store, size: int | None) -> None:
    folder = next(path for path in (store.home, *store.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if size is not None and free < size:
        raise EnvironmentFault(f"{store.home}: {free:,} bytes free, {size:,} needed", hint="free some space, or set SEGZOO_HOME")
