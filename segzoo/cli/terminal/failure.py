"""How an error looks to the person at the terminal."""

import traceback
from collections.abc import Iterable, Sequence

from segzoo.cli.terminal.loudness import verbosity
from segzoo.cli.terminal.show import show, tell
from segzoo.errors import SegzooError, in_words


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next."""
    show_errors([error])


def show_errors(errors: Iterable[SegzooError]) -> None:
    """Several messages on stderr. A hint that several errors share is shown once, after them; so is what several errors have for a cause."""
    alike: dict[str | None, list[SegzooError]] = {}
    for error in errors:
        alike.setdefault(error.hint, []).append(error)
    for same in alike.values():
        of: dict[tuple[str, ...], list[SegzooError]] = {}
        for error in same:
            of.setdefault(tuple(error.causes) or (error.message,), []).append(error)
        for some in of.values():
            if len(some) > 1 and some[0].causes and not verbosity():
                _show_joint(some)
            else:
                for error in some:
                    show_message(error)
        show_hint(same[0])


def _show_joint(errors: Sequence[SegzooError]) -> None:
    """What several things that failed have for a cause, and which they are."""
    places = {cause: {place: None for error in errors for place in error.causes[cause]} for cause in errors[0].causes}
    show(f"error: {len(errors)} files were delivered by no address: {in_words(places)}", style="red", err=True)
    for error in errors:
        show(f"  {error.lines[0].partition(': ')[0]}", style="red", err=True)


def show_message(error: SegzooError) -> None:
    """The message alone, shorter than with -v where it may be; with -vv the traceback comes before it."""
    if verbosity() >= 2 and error.__traceback__:
        show_traceback(error)
    first, *below = error.lines if verbosity() else error.short
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
