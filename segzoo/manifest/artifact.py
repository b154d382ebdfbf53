"""A file known by its content, and the addresses that offer it."""

import re
from typing import Annotated, Any

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


Urls = Annotated[tuple[Annotated[Mirror, BeforeValidator(as_mirror, json_schema_input_type=str | Mirror)], ...], Field(min_length=1)]


class Artifact(Record):
    """A file known by its content: full hash, or the eight hex digits that its publisher put into its name."""

    name: FileName
    layout: Annotated[str, OneOf(NAMES)] | None = None
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    size: Bytes | None = None
    sha256: Sha256 | None = None
    sha256_prefix: Prefix | None = None
    provenance: Text | None = None
    urls: Urls

    @property
    def third_party(self) -> bool:
        """Whether the sha256 comes from a third party, because the publisher gave none."""
        return re.search("third[ -]part", self.provenance or "") is not None

    @model_validator(mode="after")
    def _agrees(self) -> "Artifact":
        if self.sha256 and self.sha256_prefix and not self.sha256.startswith(self.sha256_prefix):
            raise ValueError("sha256 does not begin with sha256_prefix")
        return self
