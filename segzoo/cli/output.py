"""What commands show: results on stdout, everything else on stderr; bars on a terminal, sparse lines elsewhere.

Tables and bars are rich's and imported where they are drawn; a line of text needs no more than click.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import click

Said = Callable[[int, int | None], None]
_STYLES: dict[str, dict[str, Any]] = {"": {}, "bold": {"bold": True}, "dim": {"dim": True}, "bold red": {"bold": True, "fg": "red"}}


def printable(text: str) -> str:
    """The text without what could drive a terminal: names in files and manifests are a stranger's."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def show(text: str = "", style: str = "", err: bool = False) -> None:
    """A line of the result, on stdout."""
    color = False if os.environ.get("NO_COLOR") else None  # None: as the stream allows
    click.secho(printable(text), err=err, color=color, **_STYLES.get(style, {"fg": style}))


def tell(text: str, style: str = "") -> None:
    """A line about the work, on stderr."""
    show(text, style, err=True)


def on_terminal() -> bool:
    """Whether a person watches the work."""
    return sys.stderr.isatty()


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def megabytes(size: int | None) -> str:
    """A size for people, in decimal units as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


@contextmanager
def byte_progress(label: str) -> Iterator[Said]:
    """Progress over bytes: a bar on a terminal, a line each 10 % of a large file or 30 s elsewhere."""
    if on_terminal():
        from segzoo.cli.bars import bar

        with bar(label) as said:
            yield said
        return
    next_share, next_time = 0.1, monotonic() + 30

    def line(done: int, whole: int | None) -> None:
        nonlocal next_share, next_time
        share = done / whole if whole else 0.0
        due = next_share <= share < 1 and monotonic() >= next_time - 27  # not more often than each 3 s
        if due or monotonic() >= next_time:
            tell(f"{label}: {megabytes(done)}" + (f" of {megabytes(whole)}" if whole else ""))
            next_share, next_time = share + 0.1, monotonic() + 30

    yield line
