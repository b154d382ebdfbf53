"""How a file or an address becomes a source for a manifest: a file is hashed in its place, an address is fetched and hashed."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter, ValidationError

from segzoo.errors import UsageError
from segzoo.manifest.artifact import Artifact, Mirror
from segzoo.manifest.fields import FileName, Url
from segzoo.store.hashing import hashed
from segzoo.zoo.zoo import ByteProgress, Zoo

_FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)
_URL: TypeAdapter[str] = TypeAdapter(Url)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file at hand, with the `name` and the `url` that a manifest in a certain folder gives it.

    `memory` is a lock file that pins what came from an address until it is in a manifest. After a look at the proposal, writing the
    entry needs no second download.
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
        """Forget the download, so that the next call fetches again."""
        if self.memory is not None:
            self.memory.unlink(missing_ok=True)


def take(source: str, folder: Path, zoo: Zoo, said: ByteProgress, sha256: str | None = None) -> Taken:
    """The file at an address or path, for a manifest in `folder`. An address is fetched into the store; a local file stays in its place.

    `sha256` is that of what the address gave before, if the manifest knows it.

    Raises UsageError (an address or a name that a manifest cannot have), NotFoundError, EnvironmentFault, and what fetching raises.
    """
    if not source.startswith(("http://", "https://")):
        if "://" in source and not source.startswith("file:"):
            raise UsageError(f"{source}: must be a file, or an address by http or https")
        return _local(Path(unquote(urlsplit(source).path)) if source.startswith("file:") else Path(source), folder)
    from segzoo.store.fetch import fetch

    url, name = valid(_URL, source), valid(_FILE_NAME, unquote(urlsplit(source).path).rsplit("/", 1)[-1], source)
    artifact = Artifact(name=name, urls=(Mirror(url=url),), sha256=sha256)
    memory = zoo.store.home / "proposals" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock"
    store = replace(zoo.store, lock=memory)  # the manifest's own lock file may pin another file of this name
    if store.find(artifact) is None:
        memory.unlink(missing_ok=True)
    fetched = fetch(artifact, store, folder, said, policy=zoo.policy())
    again = f"taken from the store, without asking the address again; to ask again, first run segzoo store rm {fetched.sha256[:12]}"
    remark = again if fetched.cached else None
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
    """The value, if it is valid in a manifest. Raises UsageError if not."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{source or value!r}: no manifest can name it: {said}") from error
