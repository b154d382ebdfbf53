"""What the environment says where a caller does not: which manifests to use, and what may be asked of the network."""

import os

from segzoo.errors import UsageError

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
    said = os.environ.get("SEGZOO_DEADLINE", "").strip()
    if said and not (said.isascii() and said.isdecimal() and len(said) < 10 and int(said)):
        raise UsageError(f"SEGZOO_DEADLINE is {said!r}: expected seconds, a whole number from 1 on")
    return int(said) if said else None


def _wanted(name: str) -> bool:
    said = os.environ.get(name, "")
    if (word := said.strip().lower()) not in (*_YES, *_NO):
        raise UsageError(f"{name} is {said!r}: expected {', '.join(_YES[:4])}, or {', '.join(_NO[:4])}")
    return word in _YES
