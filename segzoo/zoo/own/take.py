"""A file for a manifest, hashed where it lies or as it comes."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter, ValidationError

from segzoo.errors import UsageError
from segzoo.manifest.artifact import Artifact, Mirror
from segzoo.manifest.fields import FileName, Url
from segzoo.store.hashing import hashed
from segzoo.zoo.own.write import Said
from segzoo.zoo.zoo import Zoo

_FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)
_URL: TypeAdapter[str] = TypeAdapter(Url)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file at hand. `url` is how a manifest in a certain folder names it, `name` how it calls it. `memory` keeps what came from
    an address until it is in a manifest: who has looked at a proposal need not fetch again to take it.
    """

    path: Path
    name: str
    size: int
    sha256: str
    url: str
    provenance: str | None = None
    memory: Path | None = None
    remark: str | None = None

    def forget(self) -> None:
        """The next time it is fetched anew."""
        if self.memory is not None:
            self.memory.unlink(missing_ok=True)


def take(source: str, folder: Path, zoo: Zoo, said: Said) -> Taken:
    """A file by address or path, for a manifest in `folder`. An address is fetched into the store; a local file stays where it is.

    Raises UsageError (an address or a name that no manifest can have), NotFoundError, EnvironmentFault, and what fetching raises.
    """
    if not source.startswith(("http://", "https://")):
        if "://" in source and not source.startswith("file:"):
            raise UsageError(f"{source}: must be a file, or an address by http or https")
        return _local(Path(unquote(urlsplit(source).path)) if source.startswith("file:") else Path(source), folder)
    from segzoo.store.fetch import fetch

    url, name = valid(_URL, source), valid(_FILE_NAME, unquote(urlsplit(source).path).rsplit("/", 1)[-1], source)
    artifact = Artifact(name=name, urls=(Mirror(url=url),))
    memory = zoo.store.home / "proposals" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock"
    store = replace(zoo.store, lock=memory)  # the manifest's own may have pinned another file of this name
    if store.find(artifact) is None:
        memory.unlink(missing_ok=True)
    fetched = fetch(artifact, store, folder, said, policy=zoo.policy())
    remark = f"as it came before, without asking the address again; after segzoo cache rm {fetched.sha256[:12]} it is" if fetched.cached else None
    host = urlsplit(fetched.url or url).hostname
    return Taken(fetched.path, name, fetched.size, fetched.sha256, url, f"sha256 of what {host} gave", memory, remark)


def _local(path: Path, folder: Path) -> Taken:
    sha256, size = hashed(path)
    whole = path.resolve()
    url = whole.relative_to(folder.resolve()).as_posix() if whole.is_relative_to(folder.resolve()) else whole.as_uri()
    try:
        url = _URL.validate_python(url)
    except ValidationError:  # such as a name with a colon
        url = whole.as_uri()
    return Taken(path, valid(_FILE_NAME, path.name), size, sha256, url)


def valid(kind: TypeAdapter[str], value: str, source: str = "") -> str:
    """A text that a manifest may have there. Raises UsageError."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{source or value!r}: no manifest can name it: {said}") from error
