"""The AugReg release as the zoo in use knows it: its index at hand, and the address that its files have."""

from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import NotFoundError
from segzoo.scale.release import BASE
from segzoo.zoo.zoo import ByteProgress, Zoo

NAME = "augreg"


@dataclass(frozen=True, slots=True)
class Source:
    """An index on this machine, and the address of the folder that its files lie in."""

    index: Path
    files: str


def source(zoo: Zoo, index: Path | None, said: ByteProgress) -> Source:
    """The index in the file that the user names, else that of the zoo's release `augreg`, fetched and pinned like any artifact.

    Raises NotFoundError where the zoo has no such release, and what fetching raises.
    """
    release = zoo.manifest.releases.get(NAME)
    if release is None and index is None:
        raise NotFoundError(f"no release '{NAME}' in this zoo", hint="the shipped zoo has it; or name an index with --index FILE")
    files = BASE if release is None else _absolute(release.files.url, zoo.base)
    if index is None and release is not None:
        index = zoo.fetch(release.index, said).path
    assert index is not None
    return Source(index, files)


def _absolute(url: str, base: Path) -> str:
    return url if "://" in url or url.startswith("file:") else (base / url).absolute().as_uri()
