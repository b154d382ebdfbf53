"""Why an address did not deliver, in kinds that say what to do next."""

import re
from enum import Enum, auto

from segzoo.text import brief


class Kind(Enum):
    """How an address failed. `delivery` decides what follows from it."""

    LATER = auto()  # the server asks for patience, crawls, or broke off
    STALLED = auto()  # what was awaited did not come in time
    LOST = auto()  # there is no connection, or no longer one
    CHANGED = auto()  # the file there became another while it was read
    NO_RANGES = auto()  # the server does not give the part that it was asked for
    WRONG = auto()  # the bytes are not those of the artifact
    ABSENT = auto()  # a local file is not there or cannot be read
    REFUSED = auto()  # the server will not deliver, such as HTTP 404


class Trouble(Exception):
    """An address did not deliver. `wait` is the seconds that the server asks for; `hint` replaces the usual one."""

    def __init__(self, kind: Kind, reason: str, *, wait: float = 0, hint: str | None = None):
        super().__init__(brief(without_passwords(reason), 500))  # a server may send escape codes
        self.kind, self.wait, self.hint = kind, wait, hint


def without_passwords(text: str) -> str:
    """A text whose addresses have lost their user names and passwords, also passwords with a `/` or `@` that should be percent-encoded."""
    return re.sub(r"//(?:[^/@\s:]*:(?![0-9]+/)[^\s]*|[^/\s]*)@", "//", text)
