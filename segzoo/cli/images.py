"""The names of images among a command's arguments; - stands for a list on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from segzoo.errors import UsageError


def named(given: Iterable[str]) -> list[str]:
    """The names as given, with those on stdin in the place of -, each once."""
    found: dict[str, None] = {}
    for name in given:
        found.update(dict.fromkeys(_listed() if name == "-" else [name]))
    if not found:
        raise UsageError("no image named", hint="segzoo predict MODEL IMAGE..., where - reads a list of images from stdin")
    return list(found)


def _listed() -> list[str]:
    """The list on stdin."""
    lines = [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise UsageError("the list of images on stdin is empty", hint="- reads one name a line: ls photos/*.jpg | segzoo predict MODEL -")
    return lines
