"""msgpack, read a header at a time: texts, bytes and extensions stay in the file until they are asked for.

The format is that of github.com/msgpack/msgpack/blob/master/spec.md.
"""

import struct
from dataclasses import dataclass
from typing import Any

from segzoo.formats.source import Source

_WINDOW = 1 << 14  # bytes read at a time; a tensor has some 40 before its numbers

_FIXED: dict[int, tuple[str, Any]] = {
    **{0xC0: ("nil", None), 0xC2: ("bool", False), 0xC3: ("bool", True)},
    **{number & 0xFF: ("int", number) for number in range(-32, 128)},
    **{0x80 + length: ("map", length) for length in range(16)},
    **{0x90 + length: ("list", length) for length in range(16)},
    **{0xA0 + length: ("text", length) for length in range(32)},
}
"""Kinds whose value or length is in the first byte."""
_SIZED = {
    first: (kind, struct.Struct(f">{sign}"))
    for kind, start, signs in (
        *(("bytes", 0xC4, "BHI"), ("float", 0xCA, "fd"), ("int", 0xCC, "BHIQbhiq")),
        *(("text", 0xD9, "BHI"), ("list", 0xDC, "HI"), ("map", 0xDE, "HI")),
    )
    for first, sign in enumerate(signs, start)
}
"""Kinds whose value or length is a number behind the first byte."""
_EXTENSIONS = {
    **{first: (None, struct.Struct(f">{sign}b")) for first, sign in enumerate("BHI", 0xC7)},
    **{0xD4 + power: (1 << power, struct.Struct(">b")) for power in range(5)},
}
"""Extensions, of the length that the first byte says or of a length behind it; then comes their type."""


@dataclass(slots=True)
class Cursor:
    """A place in a file of msgpack. Every method raises ValueError where the file does not reach so far."""

    source: Source
    at: int = 0
    _begin: int = 0
    _window: bytes = b""

    def head(self) -> tuple[str, Any]:
        """The kind of the value that begins here, and: of a plain one the value, of a text or bytes the length, of a list or a map the number
        of its entries, of an extension its type and its length. The cursor goes behind that. Raises ValueError for a byte that begins nothing.
        """
        first = self.take(1)[0]
        if first in _FIXED:
            kind, value = _FIXED[first]
        elif first in _SIZED:
            kind, number = _SIZED[first]
            (value,) = number.unpack(self.take(number.size))
        elif first in _EXTENSIONS:
            length, number = _EXTENSIONS[first]
            fields = number.unpack(self.take(number.size))
            kind, value = "ext", (fields[-1], fields[0] if length is None else length)
        else:
            raise ValueError(f"byte {self.at - 1} begins no value of msgpack")
        return kind, value

    def take(self, length: int) -> bytes:
        """The next bytes."""
        begin = self.at
        self.skip(length)
        if not self._begin <= begin or self.at > self._begin + len(self._window):
            self._begin = begin
            self._window = self.source.read(begin, max(length, min(_WINDOW, self.source.size - begin))).tobytes()
        return self._window[begin - self._begin : self.at - self._begin]

    def skip(self, length: int) -> None:
        """Go behind the next bytes without reading them."""
        if length > self.source.size - self.at:
            raise ValueError(f"cut short: {length} bytes are to come at byte {self.at} of {self.source.size}")
        self.at += length
