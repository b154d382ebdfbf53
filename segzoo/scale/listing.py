"""A bucket's own listing: for each file its size and checksums, as `gcloud storage objects list --format=json` prints them."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.json_in import read_json

_LARGEST = 1 << 28  # bytes; 52,268 files have some 40 MB
_HINT = "make it with: gcloud storage objects list gs://vit_models/augreg/** --format='json(name,size,md5Hash,crc32c)'"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a listing. `md5` and `crc32c` are hex digits; a composite object has no md5."""

    size: int
    md5: str | None
    crc32c: str | None


def read_listing(path: Path) -> dict[str, Listed]:
    """What a listing says of each file, by the last part of its name. Raises NotFoundError, IntegrityError."""
    try:
        document = read_json(path, limit=_LARGEST, hint=_HINT)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such listing", _HINT) from error
    objects = document.get("items") if isinstance(document, dict) else document
    if not isinstance(objects, list):
        raise IntegrityError(f"{path}: expected a list of objects", _HINT)
    found: dict[str, Listed] = {}
    for number, one in enumerate(objects):
        where = f"{path}: object {number}"
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise IntegrityError(f"{where}: expected an object with a name", _HINT)
        size = str(one.get("size", ""))
        if not (size.isascii() and size.isdecimal() and len(size) < 19):
            raise IntegrityError(f"{where}: size: expected a number of bytes, found {size!r:.40}", _HINT)
        name = one["name"].rpartition("/")[2]
        listed = Listed(int(size), _hex(one, "md5Hash", 16, where), _hex(one, "crc32c", 4, where))
        if found.setdefault(name, listed) != listed:
            raise IntegrityError(f"{where}: {name} is there twice, and differs", _HINT)
    return found


def _hex(record: dict[str, Any], name: str, length: int, where: str) -> str | None:
    if (text := record.get(name)) is None:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    if len(data) != length:
        raise IntegrityError(f"{where}: {name}: expected {length} bytes in base64, found {text!r:.40}", _HINT)
    return data.hex()
