"""A tar archive from a stranger, read strictly: plain files, one after another, and nothing else.

Python's tarfile reads more than that: sparse files, which claim a terabyte in 2 kB; headers that change the meaning of the next, in nests
as deep as its stack; links and devices. Here the bytes of a member are in the archive, so that together they are no more than it is.
"""

import re
import tarfile
from dataclasses import dataclass
from typing import IO

from segzoo.errors import IntegrityError

_BLOCK = tarfile.BLOCKSIZE
_MOST = 100_000  # members
_SIZE = re.compile(rb"([0-9]{1,2}) size=([0-9]{1,19})\n")  # the one header for another that `bundle create` writes: of 8 GiB and more


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. Its bytes are from `start` on."""

    name: str
    start: int
    size: int


def members(file: IO[bytes], whole: int, where: object) -> list[Member]:
    """The files in an archive of `whole` bytes, in their order. Raises IntegrityError where anything else is in it, or it is cut short."""
    found: list[Member] = []
    at, larger = 0, None
    while header := _header(file, at, where):
        start, size = at + _BLOCK, header.size if larger is None else larger
        if not 0 <= size <= whole - start:
            raise IntegrityError(f"{where}: not a bundle, or damaged: cut short in {header.name!a:.100}")
        if header.type == tarfile.XHDTYPE and larger is None and size < _BLOCK:
            larger = _size(file, start, size, where)
        elif header.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and len(found) < _MOST:
            found.append(Member(header.name, start, size))
            larger = None
        else:
            raise IntegrityError(f"{where}: {header.name!a:.100} has no place in a bundle: expected at most {_MOST:,} plain files")
        at = start + -(-size // _BLOCK) * _BLOCK
    return found


def _header(file: IO[bytes], at: int, where: object) -> tarfile.TarInfo | None:
    """The header at this place; None at the end of the archive."""
    file.seek(at)
    block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise IntegrityError(f"{where}: not a bundle, or damaged: {error} at byte {at:,}") from error


def _size(file: IO[bytes], start: int, size: int, where: object) -> int:
    """The size that an extended header gives the next member."""
    file.seek(start)
    said = _SIZE.fullmatch(text := file.read(size))
    if said is None or int(said[1]) != len(text):
        raise IntegrityError(f"{where}: a header that has no place in a bundle: expected a size alone")
    return int(said[2])
