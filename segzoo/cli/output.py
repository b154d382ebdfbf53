"""What commands show: results on stdout, everything else on stderr; bars on a terminal, sparse lines elsewhere.

Tables and bars are rich's and imported where they are drawn; a line of text needs no more than click.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import click

from segzoo.text import legible

Said = Callable[[int, int | None], None]
above: list[Callable[[str, str], None]] = []  # while a bar is drawn: what puts a line over it
_STYLES: dict[str, dict[str, Any]] = {"": {}, "bold": {"bold": True}, "dim": {"dim": True}, "bold red": {"bold": True, "fg": "red"}}


def printable(text: str) -> str:
    """The text without what could drive a terminal: names in files and manifests are a stranger's."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in legible(text))


def show(text: str = "", style: str = "", err: bool = False) -> None:
    """A line of the result, on stdout; what its encoding has not is replaced, also where click takes ASCII for a mistake."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = printable(text).encode(encoding, "replace").decode(encoding)
    if stream.isatty():
        text = "\n".join(line for whole in text.split("\n") for line in _wrapped(whole))
        if above:
            above[-1](text, style)
            return
    color = False if os.environ.get("NO_COLOR") else None  # None: as the stream allows
    click.secho(text, err=err, color=color, **_STYLES.get(style, {"fg": style}))


def _wrapped(line: str) -> list[str]:
    """The line as a terminal's width allows, broken between words only: a path or an address can still be copied."""
    columns = shutil.get_terminal_size().columns
    if len(line) <= columns:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def quiet() -> bool:
    """Whether -q was given: results and errors, and nothing else."""
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().params.get("quiet"))


def verbosity() -> int:
    """How often -v was given."""
    context = click.get_current_context(silent=True)
    return int(context.find_root().params.get("verbose", 0)) if context else 0


def tell(text: str, style: str = "") -> None:
    """A line about the work, on stderr."""
    if not quiet():
        show(text, style, err=True)


def on_terminal() -> bool:
    """Whether a person watches the work."""
    return sys.stderr.isatty() and not quiet()


def counted(number: int, noun: str, many: str | None = None) -> str:
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def megabytes(size: int | None) -> str:
    """A size for people, in decimal units as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


@contextmanager
def many_progress(quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress over the bytes of several files: bars on a terminal, elsewhere a line each 10 % of a file that takes long, or 30 s."""
    if quiet:
        yield lambda label, done, whole: None
        return
    if on_terminal():
        from segzoo.cli.bars import bars

        with bars() as said:
            yield said
        return
    due: dict[str, tuple[float, float]] = {}

    def line(label: str, done: int, whole: int | None) -> None:
        share, now = done / whole if whole else 0.0, monotonic()
        next_share, last = due.setdefault(label, (0.1, now))
        if (next_share <= share < 1 and now - last >= 3) or now - last >= 30:
            tell(f"{label}: {megabytes(done)}" + (f" of {megabytes(whole)}" if whole else ""))
            due[label] = (share + 0.1, now)

    yield line


@contextmanager
def byte_progress(label: str) -> Iterator[Said]:
    """The same for one file."""
    with many_progress() as said:
        yield lambda done, whole: said(label, done, whole)


@contextmanager
def work_progress(label: str, whole: int) -> Iterator[Callable[[], None]]:
    """Progress over so many things: a bar with time left on a terminal, elsewhere a line each 10 % of what takes long, or 30 s."""
    if on_terminal():
        from segzoo.cli.bars import counting

        with counting(label, whole) as done:
            yield done
        return
    count, due, last = 0, 0.1, monotonic()

    def one_more() -> None:
        nonlocal count, due, last
        count, now = count + 1, monotonic()
        if (due <= count / whole < 1 and now - last >= 3) or now - last >= 30:
            tell(f"{label}: {count} of {whole}")
            due, last = count / whole + 0.1, now

    yield one_more
