"""What the environment says where a caller does not: which manifests to use, what may be asked of the network, how large pictures may be."""

import os

from segzoo.errors import UsageError

_MOST_PIXELS, _NO_MORE = 1 << 28, 1 << 30  # the latter is where OpenCV ends
_YES, _NO = ("1", "true", "yes", "on", "t", "y"), ("0", "false", "no", "off", "f", "n", "")


def zoos() -> tuple[str, ...]:
    """The manifests in `SEGZOO_ZOO`, separated like the folders of PATH."""
    named = os.environ.get("SEGZOO_ZOO")
    return tuple(named.split(os.pathsep)) if named else ()


def mirrors() -> tuple[str, ...]:
    """The addresses in `SEGZOO_MIRROR`, separated by spaces."""
    return tuple(os.environ.get("SEGZOO_MIRROR", "").split())


def offline() -> bool:
    """Whether `SEGZOO_OFFLINE` forbids connections. Raises UsageError where it says neither yes nor no."""
    return _wanted("SEGZOO_OFFLINE")


def netrc() -> bool:
    """Whether `SEGZOO_NETRC` allows credentials from ~/.netrc. Raises UsageError where it says neither yes nor no."""
    return _wanted("SEGZOO_NETRC")


def deadline() -> int | None:
    """The seconds in `SEGZOO_DEADLINE` that a download may take. Raises UsageError where it is no whole number from 1 on."""
    return _number("SEGZOO_DEADLINE", "seconds, a whole number from 1 on", 10**9 - 1)


def connections() -> int | None:
    """Over how many connections one file may come: `SEGZOO_CONNECTIONS`, 1 to 16. Raises UsageError for what is no such number."""
    return _number("SEGZOO_CONNECTIONS", "a number of connections from 1 to 16", 16)


def _wanted(name: str) -> bool:
    said = os.environ.get(name, "")
    if (word := said.strip().lower()) not in (*_YES, *_NO):
        raise UsageError(f"{name} is {said!r}: expected {', '.join(_YES[:4])}, or {', '.join(_NO[:4])}")
    return word in _YES


def most_pixels() -> int:
    """How many pixels a picture may have: `SEGZOO_MOST_PIXELS`, else 16384 x 16384. Raises UsageError for what is no such number."""
    return _number("SEGZOO_MOST_PIXELS", f"a number of pixels from 1 to {_NO_MORE}", _NO_MORE) or _MOST_PIXELS


def _number(name: str, expected: str, most: int) -> int | None:
    """The whole number from 1 to `most` in a variable, None where it is not set or empty. Raises UsageError for anything else."""
    said = os.environ.get(name, "").strip()
    if said and not (said.isascii() and said.isdecimal() and len(said) < 12 and 0 < int(said) <= most):
        raise UsageError(f"{name} is {said!r}: expected {expected}")
    return int(said) if said else None
