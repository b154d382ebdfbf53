"""A file known by its content, and the addresses that offer it."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from segzoo.layouts import NAMES
from segzoo.manifest.fields import Bytes, FileName, OneOf, Prefix, Sha256, Text, Url
from segzoo.vocabulary import DTYPES


def as_mirror(value: Any) -> Any:
    """A bare address as the record that it stands for."""
    return {"url": value} if isinstance(value, str) else value


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mirror(Record):
    """One address of an artifact; `unverified` says why it is a candidate only."""

    url: Url
    unverified: Text | None = None

    @property
    def relative(self) -> bool:
        """Whether the address is a path relative to the manifest's folder."""
        return not self.url.startswith(("http://", "https://", "file:"))


def local(url: str, base: Path) -> Path:
    """The file that an address names which is not remote: a `file:` address, or a path that starts from `base`."""
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else base / url


Urls = Annotated[tuple[Annotated[Mirror, BeforeValidator(as_mirror, json_schema_input_type=str | Mirror)], ...], Field(min_length=1)]


def joint_sha256(hashes: Mapping[str, str]) -> str:
    """One hash of several files: that of the lines which `sha256sum` writes of them, in the order of their names. A single file has its own."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items())).encode()).hexdigest()


class Artifact(Record):
    """A file known by its content: full hash, or the eight hex digits that its publisher put into its name.

    Weights in `shards` are the index of these files. Two models may have the same index, so each file needs its full hash.
    """

    name: FileName
    layout: Annotated[str, OneOf(NAMES)] | None = None
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    size: Bytes | None = None
    sha256: Sha256 | None = None
    sha256_prefix: Prefix | None = None
    provenance: Text | None = None
    urls: Urls
    shards: tuple["Artifact", ...] = ()

    @property
    def files(self) -> "tuple[Artifact, ...]":
        """The file itself, and its shards."""
        return (self, *self.shards)

    @property
    def hashes(self) -> dict[str, str]:
        """The full hash of each file, by its name; none where it is not known."""
        return {one.name: one.sha256 for one in self.files if one.sha256}

    @property
    def joint_sha256(self) -> str | None:
        """The hash of the file, or of the index and all shards together; None where it is not known."""
        return joint_sha256(self.hashes) if self.hashes else None

    @property
    def joint_size(self) -> int | None:
        """Bytes of the file, or of the index and all shards; None where they are not known."""
        sizes = [one.size for one in self.files]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def third_party(self) -> bool:
        """Whether the sha256 comes from a third party, because the publisher gave none."""
        return re.search("third[ -]part", self.provenance or "") is not None

    @model_validator(mode="after")
    def _agrees(self) -> "Artifact":
        if self.sha256 and self.sha256_prefix and not self.sha256.startswith(self.sha256_prefix):
            raise ValueError("sha256 does not begin with sha256_prefix")
        if self.shards and not all(one.sha256 for one in self.files):
            raise ValueError("an index and its shards need a full sha256 each: two models may have the same index")
        if any(one.shards for one in self.shards) or len({one.name for one in self.files}) < len(self.files):
            raise ValueError("shards: expected files of different names, which have no shards themselves")
        return self
