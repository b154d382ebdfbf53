"""Where rich draws tables and bars. Where `plain` says so it draws plain text: no colour, nothing bold.

rich reads markup such as [red] and codes such as :smile: in a text, unless it is told not to. Here it is told, and what it gets is legible.
"""

import errno
import os
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from segzoo.cli.terminal.show import plain
from segzoo.text import brief


class _Piped(Console):
    """A console that leaves a closed pipe to the program: rich would end it with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(*, err: bool = False) -> Console:
    """A console on stdout or stderr."""
    colours = None if plain() else "auto"
    return _Piped(file=sys.stderr if err else sys.stdout, markup=False, emoji=False, highlight=False, color_system=colours)  # type: ignore[arg-type]


def legible_text(text: str, style: str = "") -> Text:
    """A text as rich shows it: as it is written, in this style."""
    return Text(brief(text), style=style)


class Grid:
    """A table without lines. A cell is a text, or a text and its style; `folded` columns wrap, `right` ones are flush right."""

    def __init__(self, columns: Iterable[str], *, folded: Iterable[str] = (), right: Iterable[str] = ()):
        self.drawn = Table(box=None, pad_edge=False)
        for name in columns:
            wraps = name in folded
            self.drawn.add_column(
                legible_text(name), no_wrap=not wraps, overflow="fold" if wraps else "ellipsis", justify="right" if name in right else "left"
            )

    def row(self, *cells: str | tuple[str, str]) -> None:
        self.drawn.add_row(*(legible_text(cell) if isinstance(cell, str) else legible_text(*cell) for cell in cells))
