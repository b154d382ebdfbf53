"""Where rich draws tables and bars. With NO_COLOR it draws plain text: no colour, nothing bold."""

import os
import sys

from rich.console import Console


def console(*, err: bool = False) -> Console:
    """A console on stdout or stderr."""
    return Console(file=sys.stderr if err else sys.stdout, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
