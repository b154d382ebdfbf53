"""How an error looks to the person at the terminal."""

import traceback
from collections.abc import Iterable

from segzoo.cli.terminal.loudness import verbosity
from segzoo.cli.terminal.show import show, tell
from segzoo.errors import SegzooError


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next."""
    show_errors([error])


def show_errors(errors: Iterable[SegzooError]) -> None:
    """Several messages on stderr. A hint that several errors share is shown once, after them."""
    alike: dict[str | None, list[SegzooError]] = {}
    for error in errors:
        alike.setdefault(error.hint, []).append(error)
    for same in alike.values():
        for error in same:
            show_message(error)
        show_hint(same[0])


def show_message(error: SegzooError) -> None:
    """The message alone; with -vv the traceback comes before it."""
    if verbosity() >= 2 and error.__traceback__:
        show_traceback(error)
    first, *below = error.lines
    for line in (f"error: {first}", *below):
        show(line, style="red", err=True)


def show_traceback(error: BaseException) -> None:
    """A traceback, indented: the message at its end may be in a stranger's words, and have any lines."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        show(f"  {line}", style="dim", err=True)


def show_warning(message: Warning | str) -> None:
    """A warning of a library, in one line."""
    tell(f"warning: {message}", style="yellow")


def show_hint(error: SegzooError) -> None:
    if error.hint:
        show(f"hint: {error.hint}", err=True)
