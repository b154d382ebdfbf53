"""The members of a zip of weights. A zip can say of itself what is not so; each claim is compared before anything is read or allocated.

Members are stored or deflated, since bzip2 and LZMA make gigabytes of kilobytes and no program writes weights so. Refused are members
that are encrypted, that are there twice, that share bytes, or that the directory and the member itself describe differently: another
program would read another file.
"""

import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

import numpy as np

from segzoo.errors import IntegrityError
from segzoo.formats.source import Source, crc_of
from segzoo.formats.weights import ANEW

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8, _ENCRYPTED = 0x800, 0x2041
_LATER = (0, 0xFFFFFFFF)  # sizes in a local header that stand behind the member, or in its zip64 record


@dataclass(frozen=True, slots=True)
class Member:
    """A member: its name, where its bytes lie in the file, how many they are there and unpacked, and their CRC-32."""

    name: str
    begin: int
    stored: int
    size: int
    crc: int
    deflated: bool


def members(source: Source) -> dict[str, Member]:
    """The members of a zip, by name. Raises IntegrityError."""
    found: dict[str, Member] = {}
    spans = []
    with zipfile.ZipFile(source.path) as archive, source.path.open("rb") as file:
        for info in archive.infolist():
            where = f"{source.path}: member '{info.filename}'"
            if info.filename in found:
                raise IntegrityError(f"{where} is there twice; which one is meant cannot be known")
            found[info.filename] = member = _member(where, file, info)
            spans.append((info.header_offset, member.begin + member.stored, where))
    spans.sort()
    for (_, end, where), (begin, _, _) in zip(spans, [*spans[1:], (source.size, 0, "")], strict=True):
        if end > begin:
            raise IntegrityError(f"{where}: reaches into the next member, or beyond the end of the file", ANEW)
    return found


def _member(where: str, file: IO[bytes], info: zipfile.ZipInfo) -> Member:
    """A member as the directory and its own header describe it."""
    if info.flag_bits & _ENCRYPTED:
        raise IntegrityError(f"{where}: is encrypted", "unpack the zip with its password, and zip it anew without one")
    if info.compress_type not in _METHODS:
        method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
        raise IntegrityError(f"{where}: compressed by {method}, expected stored or deflated", "no program writes weights so: do not trust this file")
    file.seek(info.header_offset)
    local = file.read(30)
    if local[:4] != b"PK\x03\x04":
        raise IntegrityError(f"{where} is not where the zip says", ANEW)
    fields = [int.from_bytes(local[start : start + 4], "little") for start in (14, 18, 22)]
    name = file.read(int.from_bytes(local[26:28], "little")).decode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    said = (info.CRC, info.compress_size, info.file_size)
    if name != info.orig_filename or any(one not in (*_LATER, other) for one, other in zip(fields, said, strict=True)):
        raise IntegrityError(f"{where}: the zip's directory and the member's own header say different things", ANEW)
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and info.compress_size != info.file_size:
        raise IntegrityError(f"{where}: stored, but of {info.compress_size} bytes it makes {info.file_size}", ANEW)
    begin = info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return Member(info.filename, begin, info.compress_size, info.file_size, info.CRC, deflated)


def head(source: Source, member: Member, length: int) -> bytes:
    """The first bytes of a member, at most `length`, without a look at its checksum."""
    if not member.deflated:
        return source.read(member.begin, min(length, member.size)).tobytes()
    return zlib.decompressobj(-15).decompress(source.read(member.begin, min(member.stored, length)).data, length)


def content(source: Source, member: Member) -> np.ndarray:
    """All bytes of a member. Memory is as large as the directory says, whatever the packed bytes would make.

    Raises IntegrityError if they do not fit its size or its checksum.
    """
    block = source.read(member.begin, member.stored)
    if member.deflated:
        unpacker = zlib.decompressobj(-15)
        block = np.frombuffer(unpacker.decompress(block.data, member.size) if member.size else b"", np.uint8)
        if len(block) != member.size or unpacker.decompress(unpacker.unconsumed_tail, 1):
            raise IntegrityError(f"{source.path}: member '{member.name}' does not unpack to {member.size} bytes", ANEW)
    refuse_other_crc(source, member, crc_of(block.data))
    return block


def refuse_other_crc(source: Source, member: Member, found: int) -> None:
    """Raises IntegrityError if the CRC-32 of a member's bytes is not the one that the zip gives for it."""
    if found != member.crc:
        raise IntegrityError(f"{source.path}: member '{member.name}' does not have the checksum that the zip gives for it", ANEW)
