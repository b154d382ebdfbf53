"""The parts of a PNG that its pixels need. Pillow gives up on a large profile or text, and on a wrong checksum beside the pixels."""

import struct
import zlib
from pathlib import Path

_SIGN = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")


def essence(path: Path) -> bytes | None:
    """The PNG without text, profiles and all else that no pixel depends on; None for a file that is no PNG.

    As libpng does, it leaves out what is optional and has a wrong checksum.
    """
    with path.open("rb") as file:
        if file.read(8) != _SIGN:
            return None
        kept = [_SIGN]
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind not in _NEEDED:
                file.seek(length + 4, 1)
                continue
            body, check = file.read(length), file.read(4)
            optional = kind[0] & 0x20
            if not optional or check == struct.pack(">I", zlib.crc32(kind + body)):
                kept += [head, body, check]
            if kind == b"IEND":
                break
    return b"".join(kept)
