"""The lock file: hashes that the manifest does not have in full, pinned on first use or by hand. It may be a stranger's, as a manifest may."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.json_in import parse_json
from segzoo.store.expectation import Origin, Pin

LOCK_NAME = "segzoo.lock"
_LARGEST = 1 << 22  # bytes: some 10,000 pins
_HINT = "restore it, or remove it to pin anew"
_FACTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "sha256": ("64 digits from 0-9a-f", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None),
    "size": ("a number of bytes", lambda value: type(value) is int and 0 <= value < 1 << 63),
    "url": ("a text", lambda value: isinstance(value, str)),
    "by": (f"'{Origin.HAND}'", lambda value: value == Origin.HAND),
}


def read_pins(lock: Path) -> dict[str, Pin]:
    """What is pinned: the published file name, with sha256 and, but for a pin by hand, size and the address that the file came from.

    Raises EnvironmentFault (not readable), IntegrityError (not a lock file; the message names the line or the key).
    """
    try:
        if not lock.exists():
            return {}
        if not lock.is_file():
            raise _no_lock(lock, "expected a file, found a folder, a pipe or a device")
        if (size := lock.stat().st_size) > _LARGEST:
            raise _no_lock(lock, f"expected {_LARGEST:,} bytes at most, found {size:,}")
        text = lock.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"{lock}: not readable: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _no_lock(lock, f"expected UTF-8, found another byte at {error.start}") from error
    document = parse_json(text, where=f"{lock}: not a lock file that segzoo wrote", limit=_LARGEST, hint=_HINT)
    if not isinstance(document, dict) or document.keys() != {"version", "pins"}:
        raise _no_lock(lock, "expected an object with 'version' and 'pins'")
    if type(document["version"]) is not int or document["version"] != 1:
        raise _no_lock(lock, f"expected version 1, found {_short(document['version'])}")
    pins = document["pins"]
    if not isinstance(pins, dict):
        raise _no_lock(lock, f"pins: expected an object, found {_short(pins)}")
    for name, pin in pins.items():
        if wrong := _fault(pin):
            raise _no_lock(lock, f"pins: {_short(name)}: {wrong}")
    return pins


def _fault(pin: object) -> str | None:
    """What is wrong with one pin; None where nothing is."""
    if not isinstance(pin, dict):
        return f"expected an object, found {_short(pin)}"
    if unknown := pin.keys() - _FACTS.keys():
        return f"expected {', '.join(_FACTS)}, found the key {_short(min(unknown))}"
    if "sha256" not in pin:
        return f"sha256: expected {_FACTS['sha256'][0]}, found none"
    wrong = next((key for key, value in pin.items() if not _FACTS[key][1](value)), None)
    return f"{wrong}: expected {_FACTS[wrong][0]}, found {_short(pin[wrong])}" if wrong else None


def _no_lock(lock: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{lock}: not a lock file that segzoo wrote: {why}", _HINT)


def _short(value: object) -> str:
    """A value of a stranger's, as it is shown."""
    said = ascii(value)
    return said if len(said) <= 80 else f"{said[:77]}..."
