"""Why an address did not deliver, in kinds that say what to do next."""

import re
from enum import Enum, auto


class Kind(Enum):
    """What a failure means for the address."""

    LATER = auto()  # it may deliver later: it asks for patience, stalled or broke off
    LOST = auto()  # there is no connection to it, or no longer one
    CHANGED = auto()  # another version of the file came in between: begin anew, and ask again
    NO_RANGES = auto()  # it gives no part as it was asked for: begin anew, and ask for the whole
    WRONG = auto()  # it delivers something else
    ABSENT = auto()  # a local file that is not there
    REFUSED = auto()  # it will not deliver, such as HTTP 404


class Trouble(Exception):
    """An address did not deliver. `wait` is the seconds that the server asks for; `hint` replaces the usual one."""

    def __init__(self, kind: Kind, reason: str, *, wait: float = 0, hint: str | None = None):
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in without_passwords(reason)))  # a server may send escape codes
        self.kind, self.wait, self.hint = kind, wait, hint


def without_passwords(text: str) -> str:
    """A text whose addresses have lost their user names and passwords."""
    return re.sub(r"//[^/@\s]*@", "//", text)
