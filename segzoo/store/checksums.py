"""Checksums that servers send for what they store. They find damage on the way; they never prove that it is the right file.

Google Cloud Storage: `x-goog-hash` with md5 and crc32c, base64, in one line or two; a composite object has
no md5. Alibaba OSS: `Content-MD5`, base64, and `x-oss-hash-crc64ecma`, decimal.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import fastcrc

_CHUNK = 1 << 22


def promised(headers: Mapping[str, str]) -> dict[str, int]:
    """The checksums in a response's headers as numbers, by name. A malformed one is passed over."""
    found = {}
    for part in headers.get("x-goog-hash", "").split(","):
        name, _, value = part.strip().partition("=")
        if name in ("md5", "crc32c") and (number := _from_base64(value, 16 if name == "md5" else 4)) is not None:
            found[name] = number
    if (number := _from_base64(headers.get("Content-MD5", ""), 16)) is not None:
        found["md5"] = number
    crc64 = headers.get("x-oss-hash-crc64ecma", "")
    if re.fullmatch("[0-9]{1,20}", crc64) and int(crc64) < 1 << 64:
        found["crc64ecma"] = int(crc64)
    return found if headers.get("x-goog-stored-content-encoding", "identity") == "identity" else {}


def _from_base64(text: str, length: int) -> int | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(data, "big") if len(data) == length else None


def differing(path: Path, expected: Mapping[str, int]) -> list[str]:
    """The names of the checksums that a file does not fit."""
    md5 = hashlib.md5(usedforsecurity=False)
    running: dict[str, int | None] = {"crc32c": None, "crc64ecma": None}
    crc: dict[str, Callable[[bytes, int | None], int]] = {"crc32c": fastcrc.crc32.iscsi, "crc64ecma": fastcrc.crc64.xz}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if "md5" in expected:
                md5.update(chunk)
            for name in running.keys() & expected.keys():
                running[name] = crc[name](chunk, running[name])
    found = {"md5": int.from_bytes(md5.digest(), "big"), **{name: value or 0 for name, value in running.items()}}
    return [name for name in expected if found[name] != expected[name]]
