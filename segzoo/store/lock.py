"""The lock file: hashes that the manifest does not have in full, pinned on first use or by hand. It may be a stranger's, as a manifest may.

Up to some hundred pins are one file, `segzoo.lock`. More are a folder beside it, `segzoo.lock.d`, of files of the same form, each with the pins of
those names whose SHA-256 begins with its two digits. The lock file then says so; a version of segzoo that does not know folders refuses it. A look
reads one of these files, a pin writes one. All are JSON with a line a pin, sorted, which git merges, and people too.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing
from segzoo.errors import EnvironmentFault, IntegrityError
from segzoo.json_in import parse_json
from segzoo.store.expectation import Origin, Pin

LOCK_NAME = "segzoo.lock"
MOST = 200
"""Pins in one file; one more makes it a folder."""
_ABSENT = object()
_LARGEST = 1 << 22  # bytes: some 10,000 pins
_HINT = "restore it, or remove it to pin anew"
_FACTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "sha256": ("64 digits from 0-9a-f", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None),
    "size": ("a number of bytes", lambda value: type(value) is int and 0 <= value < 1 << 63),
    "url": ("a text", lambda value: isinstance(value, str)),
    "by": (f"'{Origin.HAND}'", lambda value: value == Origin.HAND),
}


@dataclass
class Lock:
    """A lock file as it is now. `pages` are the files with pins that were read, by their paths; `spread` is True where there is a folder of them."""

    path: Path
    spread: bool
    pages: dict[Path, dict[str, Pin]] = field(default_factory=dict)

    def page(self, name: str) -> Path:
        """The file in which the pin of this name stands, or would."""
        return _folder(self.path) / f"{_digits(name)}.json" if self.spread else self.path

    def get(self, name: str) -> Pin | None:
        return self.pins(name).get(name)

    def pins(self, name: str) -> dict[str, Pin]:
        """All pins on the page of a name."""
        page = self.page(name)
        if page not in self.pages:
            self.pages[page] = _page(page, page.stem)
        return self.pages[page]

    def every(self) -> dict[str, Pin]:
        """All pins."""
        if not self.spread:
            return dict(self.pages[self.path])
        try:
            pages = sorted(_folder(self.path).glob("*.json"))
        except OSError as error:
            raise EnvironmentFault(f"{_folder(self.path)}: not readable: {error.strerror}") from error
        return {name: pin for page in pages for name, pin in _page(page, page.stem).items()}

    def write(self, name: str) -> None:
        """Write the page of a name, which was changed. A file that has grown too long becomes a folder."""
        pins = self.pins(name)
        if self.spread or len(pins) <= MOST:
            _write(self.page(name), pins)
            return
        folder = _folder(self.path)
        pages: dict[str, dict[str, Pin]] = {}
        for one, pin in pins.items():
            pages.setdefault(_digits(one), {})[one] = pin
        for stale in folder.glob("*.json"):  # of a process that was killed before the lock file named the folder
            stale.unlink()
        for digits, some in pages.items():
            _write(folder / f"{digits}.json", some)
        with replacing(self.path) as part:
            part.write_text(json.dumps({"version": 2, "folder": folder.name}, indent=2) + "\n", encoding="utf-8")


def read_lock(path: Path) -> Lock:
    """The lock file at a path; one without pins where there is none.

    Raises EnvironmentFault (not readable), IntegrityError (not a lock file; the message names the line or the key).
    """
    document = _document(path)
    if document is _ABSENT:
        return Lock(path, False, {path: {}})
    if isinstance(document, dict) and document.get("version") == 2 and type(document["version"]) is int and document.keys() == {"version", "folder"}:
        if document["folder"] != _folder(path).name:
            raise _no_lock(path, f"folder: expected '{_folder(path).name}', found {_short(document['folder'])}")
        return Lock(path, True)
    return Lock(path, False, {path: _checked(document, path)})


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.d")


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:2]


def _page(path: Path, digits: str) -> dict[str, Pin]:
    """The pins in one file of a folder. A pin in another file than its own would never be found, so it is an error."""
    document = _document(path)
    pins = {} if document is _ABSENT else _checked(document, path)
    if stray := next((name for name in pins if _digits(name) != digits), None):
        raise _no_lock(path, f"pins: {_short(stray)} stands in the wrong file, expected it in {_digits(stray)}.json")
    return pins


def _write(path: Path, pins: dict[str, Pin]) -> None:
    encode = json.JSONEncoder(sort_keys=True).encode  # json.dumps makes one for each call, which takes as long as to use it
    lines = ",\n".join(f"    {encode(name)}: {encode(pins[name])}" for name in sorted(pins))
    with replacing(path) as part:
        part.write_text(f'{{\n  "pins": {{\n{lines}\n  }},\n  "version": 1\n}}\n', encoding="utf-8")


def _document(lock: Path) -> Any:
    """The JSON of a lock file; _ABSENT where there is no file."""
    try:
        if not lock.exists():
            return _ABSENT
        if not lock.is_file():
            raise _no_lock(lock, "expected a file, found a folder, a pipe or a device")
        if (size := lock.stat().st_size) > _LARGEST:
            raise _no_lock(lock, f"expected {_LARGEST:,} bytes at most, found {size:,}")
        text = lock.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"{lock}: not readable: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _no_lock(lock, f"expected UTF-8, found another byte at {error.start}") from error
    return parse_json(text, where=f"{lock}: not a lock file that segzoo wrote", limit=_LARGEST, hint=_HINT)


def _checked(document: Any, lock: Path) -> dict[str, Pin]:
    """The published file names, with sha256 and, but for a pin by hand, size and the address that the file came from."""
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
