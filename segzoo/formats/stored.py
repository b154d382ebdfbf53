"""A zip of stored members, written from front to back, with the CRC-32 of `fastcrc`: four times as fast as zlib's.

The bytes are those that `zipfile` of Python 3.11 writes for the same members. Format as in PKWARE's APPNOTE 6.3.10, with its zip64 records.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from segzoo.formats.source import crc_of

_LARGE = (1 << 31) - 1  # bytes; a member or an offset beyond them has its numbers in a zip64 record, as in `zipfile`
_MOST = 0xFFFF  # members without a zip64 record
_PLACED = 0xFFFFFFFF  # what stands for a number that is in a zip64 record
_DATE = 1 << 5 | 1  # 1 January 1980, the first day that a zip can name
_UTF8 = 0x800
_UNIX = 3
_OWNER_ONLY = 0o600 << 16


@dataclass
class StoredZip:
    """A zip that is being written to `file`, from its beginning. `close` writes the directory."""

    file: IO[bytes]
    directory: list[bytes] = field(default_factory=list)

    def add(self, name: str, chunks: Sequence[bytes | memoryview], alignment: int = 1) -> None:
        """Write a member. Its bytes begin on a multiple of `alignment`, as `torch.save` pads them, where that is not 1."""
        size, crc = sum(len(chunk) for chunk in chunks), 0
        for chunk in chunks:
            crc = crc_of(memoryview(chunk), crc)
        written, large, offset = name.encode(), size > _LARGE, self.file.tell()
        flags = 0 if written.isascii() else _UTF8
        sizes = struct.pack("<HHQQ", 1, 16, size, size) if large else b""
        padding = b""
        if alignment > 1:
            length = -(offset + 30 + len(written) + 4 + len(sizes)) % alignment
            padding = struct.pack("<2sH", b"FB", length) + b"Z" * length
        needs, plain = (45, (_PLACED, _PLACED)) if large else (20, (size, size))
        self.file.write(struct.pack("<4s5H3L2H", b"PK\3\4", needs, flags, 0, 0, _DATE, crc, *plain, len(written), len(padding) + len(sizes)))
        self.file.write(written + padding + sizes)
        for chunk in chunks:
            self.file.write(chunk)
        numbers = [size, size] * large + [offset] * (offset > _LARGE)
        beyond = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
        needs, place = (45 if numbers else 20), (_PLACED if offset > _LARGE else offset)
        fields = (needs, _UNIX, needs, 0, flags, 0, 0, _DATE, crc, *plain, len(written), len(beyond + padding), 0, 0, 0, _OWNER_ONLY, place)
        self.directory.append(struct.pack("<4s4B4H3L5H2L", b"PK\1\2", *fields) + written + beyond + padding)

    def close(self) -> None:
        """Write the directory, after the last member."""
        begin, count = self.file.tell(), len(self.directory)
        self.file.write(b"".join(self.directory))
        end = self.file.tell()
        if count > _MOST or begin > _LARGE:
            self.file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, end - begin, begin))
            self.file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        count, begin, length = min(count, _MOST), min(begin, _PLACED), min(end - begin, _PLACED)
        self.file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, length, begin, 0))
