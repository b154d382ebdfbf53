"""Where rich draws tables and bars. With NO_COLOR it draws plain text: no colour, nothing bold."""

import errno
import os
import sys

from rich.console import Console


class _Piped(Console):
    """A console that leaves a closed pipe to the program: rich would end it with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(*, err: bool = False) -> Console:
    """A console on stdout or stderr."""
    return _Piped(file=sys.stderr if err else sys.stdout, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
