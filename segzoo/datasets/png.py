"""The parts of a PNG that its pixels need. Pillow gives up on a large profile or text, and on a wrong checksum beside the pixels."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from segzoo.datasets.listing import open_file

_SIGN = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")


def essence(path: Path) -> bytes | None:
    """The PNG without text, profiles and all else that no pixel depends on; None for a file that is no PNG.

    As libpng does, it leaves out what is optional and has a wrong checksum.
    """
    with open_file(path) as file:
        if file.read(len(_SIGN)) != _SIGN:
            return None
        return _SIGN + b"".join(head + body + check for head, body, check in _chunks(file, _NEEDED))


def exif(path: Path) -> bytes:
    """The EXIF of a PNG, empty without one."""
    with open_file(path) as file:
        file.seek(len(_SIGN))
        return next((body for _, body, _ in _chunks(file, (b"eXIf",))), b"")


def _chunks(file: BinaryIO, wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Head, body and checksum of the chunks of these kinds, without optional ones whose checksum is wrong."""
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind not in wanted:
            file.seek(length + 4, 1)
        else:
            body, check = file.read(length), file.read(4)
            optional = kind[0] & 0x20
            if not optional or check == struct.pack(">I", zlib.crc32(kind + body)):
                yield head, body, check
        if kind == b"IEND":
            return
