"""The names of images among a command's arguments; - stands for a list on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from segzoo.errors import UsageError

_LONGEST = 1 << 14  # characters of a name: four times what Linux takes
_MOST = 10_000_000


def named(given: Iterable[str]) -> list[str]:
    """The names as given, with those on stdin in the place of -, each once."""
    found: dict[str, None] = {}
    for name in given:
        found.update(dict.fromkeys(_listed() if name == "-" else [name]))
    if not found:
        raise UsageError("no image named", hint="segzoo predict MODEL IMAGE..., where - reads a list of images from stdin")
    return list(found)


def _listed() -> list[str]:
    """The list on stdin. Raises UsageError where it is empty, or seems to be no list of names: a device may send bytes for ever."""
    lines: list[str] = []
    while line := sys.stdin.readline(_LONGEST):
        if len(line) == _LONGEST or len(lines) == _MOST:
            raise UsageError(f"what comes on stdin is no list of images: expected {_MOST:,} names at most, each on a line of its own")
        lines += [name] if (name := line.strip()) else []
    if not lines:
        raise UsageError("the list of images on stdin is empty", hint="- reads one name a line: ls photos/*.jpg | segzoo predict MODEL -")
    return lines
