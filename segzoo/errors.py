"""The error tree: one branch an exit code.

SegzooError            1  a fault of segzoo itself
├── UsageError         2  the call or the manifest is wrong
├── NetworkError       3  no mirror delivered
├── IntegrityError     4  the bytes are not what they should be
├── ConversionError    5  names, shapes or numbers do not fit
├── AccuracyError      6  the measured mIoU is off
├── NotFoundError      7  no such file, model or, offline, no such bytes
├── EnvironmentFault   8  disk, permission, data set, device, missing extra
├── Stalled            9  a run of many files has no worker any more
└── Interrupted      130  Ctrl-C
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any


class SegzooError(Exception):
    """The base of all errors that a user is meant to read: a message says what went wrong, a hint what to do.

    `lines` are those of the message, the first one and those `below` it. A new line in a name or in a server's answer begins no line: it is
    shown as an escape. `causes` are those of an error that has several places to tell of, each cause with its places; `short` is then the
    message with each cause once. `elsewhere` is True where several processes raise the same error and another one reports it.
    """

    exit_code = 1
    elsewhere = False

    def __init__(self, message: str, hint: str | None = None, *, below: Sequence[str] = (), causes: Mapping[str, Collection[str]] | None = None):
        self.lines = (message, *below)
        self.message = "\n".join(self.lines)
        self.hint = hint
        self.causes = causes or {}
        super().__init__(self.message)

    @property
    def short(self) -> tuple[str, ...]:
        """The lines of the message; where it has causes, a single one."""
        return (f"{self.lines[0]} {in_words(self.causes)}",) if self.causes else self.lines


def in_words(causes: Mapping[str, Collection[str]]) -> str:
    """Each cause once, with its place, or with the number of its places."""
    one = {cause: next(iter(places)) for cause, places in causes.items() if len(places) == 1}
    return "; ".join(f"{one[cause]}: {cause}" if cause in one else f"{cause}, at {len(of)} places, which -v names" for cause, of in causes.items())


class UsageError(SegzooError):
    exit_code = 2


class NetworkError(SegzooError):
    exit_code = 3


class IntegrityError(SegzooError):
    exit_code = 4


class ConversionError(SegzooError):
    exit_code = 5


class AccuracyError(SegzooError):
    """A measured mIoU that is off. `facts` are what was measured up to that figure, in the form that `segzoo.evaluate` returns."""

    exit_code = 6

    def __init__(self, message: str, hint: str | None = None, facts: Mapping[str, Any] | None = None):
        super().__init__(message, hint)
        self.facts = facts or {}


class NotFoundError(SegzooError):
    exit_code = 7


class EnvironmentFault(SegzooError):
    exit_code = 8


class Stalled(SegzooError):
    exit_code = 9


class Interrupted(SegzooError):
    exit_code = 130


def one_of(what: str, value: object, among: Iterable[object]) -> None:
    """Raises UsageError for a value that is not among the allowed ones."""
    if value not in (there := list(among)):
        raise UsageError(f"no {what} {value!r}; there are {', '.join(map(str, there))}")


def of_code(code: int) -> type[SegzooError]:
    """The error class with this exit code."""
    return next((kind for kind in SegzooError.__subclasses__() if kind.exit_code == code), SegzooError)


class LostProcess(EnvironmentFault):
    """A process of a run failed or disappeared. The run then has no result, and no receipt is written."""


class Skip(Exception):
    """A rung that could not run, or could not judge. It carries the reason, short and in full, and the facts found so far."""

    def __init__(self, short: str, detail: str, facts: dict[str, Any] | None = None):
        super().__init__(detail)
        self.short, self.detail, self.facts = short, detail, facts or {}
