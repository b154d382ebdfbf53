"""How a file or an address becomes a source for a manifest: a file is hashed in its place, an address is fetched and hashed.

A folder stands for the weights in it. An index of shards is taken with its shards.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from pydantic import TypeAdapter, ValidationError

from segzoo.errors import UsageError
from segzoo.formats.shards import shards_of, standing_for
from segzoo.formats.weights import INDEX, parsing
from segzoo.manifest.artifact import Artifact, Mirror, joint_sha256, local
from segzoo.manifest.fields import FileName, Url
from segzoo.store.hashing import hashed
from segzoo.zoo.zoo import ByteProgress, Zoo

_FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)
_URL: TypeAdapter[str] = TypeAdapter(Url)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file at hand, with the `name` and the `url` that a manifest in a certain folder gives it; `called` is what its entry is named after.

    Of an index of shards, `files` are the index and the shards, and `sha256` and `size` those of all of them together.

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
    called: str = ""
    files: "tuple[Taken, ...]" = ()

    @property
    def plain(self) -> dict[str, Any]:
        """The artifact in plain form, but for what is in it."""
        first, *shards = self.files or (self,)
        facts: dict[str, Any] = {"size": first.size, "sha256": first.sha256}
        facts |= {"provenance": first.provenance} if first.provenance else {}
        facts |= {"urls": (first.url,)}
        return facts | ({"shards": tuple({"name": one.name, **one.plain} for one in shards)} if shards else {})

    def forget(self) -> None:
        """Forget the download, so that the next call fetches again."""
        for one in self.files or (self,):
            if one.memory is not None:
                one.memory.unlink(missing_ok=True)


def take(source: str, folder: Path, zoo: Zoo, said: ByteProgress, before: Artifact | None = None) -> Taken:
    """The file at an address or path, for a manifest in `folder`. An address is fetched into the store; a local file stays in its place.

    `before` is what the address gave before, if the manifest knows it.

    Raises UsageError (an address or a name that a manifest cannot have), NotFoundError, EnvironmentFault, and what fetching raises.
    """
    if not source.startswith(("http://", "https://")):
        if "://" in source and not source.startswith("file:"):
            raise UsageError(f"{source}: must be a file, or an address by http or https")
        path = standing_for(local(source, Path()))
        return _with_shards(_local(path, folder), source, lambda name: _local(path.parent / name, folder))
    known = {one.name: one.sha256 for one in before.files} if before else {}
    whole = _with_shards(
        _remote(source, folder, zoo, said, known), source, lambda name: _remote(urljoin(source, quote(name)), folder, zoo, said, known)
    )
    return replace(whole, path=zoo.store.together(whole.name, {one.name: one.sha256 for one in whole.files})) if whole.files else whole


def called(source: str) -> str:
    """What an entry for a file, a folder or an address is named after."""
    if "://" in source:
        return unquote(urlsplit(source).path).rsplit("/", 1)[-1]
    return Path(source).resolve().name if Path(source).is_dir() else Path(source).name


def _with_shards(first: Taken, source: str, other: Callable[[str], Taken]) -> Taken:
    """A file; an index with the shards that it names."""
    first = replace(first, called=called(source))
    if not first.name.endswith(INDEX):
        return first
    with parsing(first.path):
        names = [one.name for one in shards_of(first.path)]
    files = (first, *map(other, names))
    return replace(first, sha256=joint_sha256({one.name: one.sha256 for one in files}), size=sum(one.size for one in files), files=files)


def _remote(source: str, folder: Path, zoo: Zoo, said: ByteProgress, known: Mapping[str, str | None]) -> Taken:
    from segzoo.store.fetch import fetch

    url, name = valid(_URL, source), valid(_FILE_NAME, called(source), source)
    artifact = Artifact(name=name, urls=(Mirror(url=url),), sha256=known.get(name))
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
