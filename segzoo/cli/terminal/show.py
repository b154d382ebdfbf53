"""What commands show: results on stdout, everything else on stderr; bars on a terminal, sparse lines elsewhere.

A line of text needs click only. Tables and bars need rich, which is slow to import: their modules are imported when one is drawn.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import click

from segzoo.cli.terminal.loudness import quiet
from segzoo.text import brief, legible

above: list[Callable[[str, str], None]] = []  # while bars are drawn: prints a line above them
_LONGEST = 20_000  # characters of a line; of a longer one the middle is left out
_UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMGT]?B|s|images/s)(?!\w))")  # the space between a figure and its unit
_TIE = "\x00"  # no line has it: texts are made legible
_STYLES: dict[str, dict[str, Any]] = {"": {"reset": False}, "bold": {"bold": True}, "dim": {"dim": True}, "bold red": {"bold": True, "fg": "red"}}


def show(text: str = "", style: str = "", err: bool = False) -> None:
    """One line of the result on stdout, or on stderr, whatever is in it: a new line in the text is shown as \\n.

    Several lines are several calls, so that no name in a text can begin a line. Characters that the stream cannot encode are replaced.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = brief(text, _LONGEST).encode(encoding, "replace").decode(encoding)
    if stream.isatty():
        text = "\n".join(_wrapped(text))
        if above:
            above[-1](text, style)
            return
    color = False if plain() else None  # None: click asks the stream
    click.secho(text, err=err, color=color, **_STYLES.get(style, {"fg": style}))


def put(*lines: str) -> None:
    """Lines for programs on stdout, such as JSON: neither wrapped nor cut nor coloured, but legible."""
    click.echo("\n".join(map(legible, lines)))


def _wrapped(line: str) -> list[str]:
    """The line, wrapped to the terminal's width between words only, so that a path or an address can be copied; a figure keeps its unit."""
    columns = shutil.get_terminal_size().columns
    if len(line) <= columns:
        return [line]
    rest = line.lstrip(" ")
    indent = " " * (len(line) - len(rest))
    joined = _UNIT.sub(_TIE, rest)
    lines = textwrap.wrap(joined, columns, initial_indent=indent, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)
    return [one.replace(_TIE, " ") for one in lines]


def plain() -> bool:
    """Whether nothing but letters may be written: NO_COLOR asks for it, and a terminal that calls itself dumb knows nothing else."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")


def columns(most: int) -> int:
    """How many characters a line of the result may have, so that no terminal wraps it: at most this many."""
    return min(most, shutil.get_terminal_size().columns) if sys.stdout.isatty() else most


def tell(text: str, style: str = "") -> None:
    """A line about the work, on stderr."""
    if not quiet():
        show(text, style, err=True)


def on_terminal() -> bool:
    """Whether a person watches the work."""
    return sys.stderr.isatty() and not quiet()


def redraws() -> bool:
    """Whether bars and tables are drawn over what stood there."""
    return on_terminal() and not plain()


def counted(number: int, noun: str, many: str | None = None) -> str:
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def gigabytes(size: int) -> str:
    """A size that may be that of thousands of files, for people."""
    return f"{size / 1e12:.2f} TB" if size >= 1e12 else megabytes(size)


def megabytes(size: int | None) -> str:
    """A size for people, in decimal units as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
