"""JSON that a stranger wrote, read within limits: of size, of depth, of the length of a number. Nothing in it may surprise who uses it.

Python's own reader takes NaN, keys that are there twice (the last counts), integers that no float holds, and nests so deep that
a walk through them ends in RecursionError.
"""

import json
import math
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from segzoo.errors import IntegrityError

LARGEST = 1 << 24  # bytes
DEEPEST = 64  # lists and objects within one another
_LONGEST = 1000  # characters of a number
_WHOLE = 1 << 64


def parse_json(text: str | bytes, *, where: object, limit: int = LARGEST, hint: str | None = None) -> Any:
    """The value that a JSON text describes. `where` names the text in messages, `limit` is its largest size in bytes, or in characters.

    Integers are smaller than 2**64 in size, other numbers finite, the keys of an object all different, lists and objects at most 64 deep.
    Raises IntegrityError for anything else, with `hint`.
    """
    try:
        if len(text) > limit:
            raise ValueError(f"more than {limit} bytes")
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant)
        _refuse_deep(value)
    except json.JSONDecodeError as error:
        raise IntegrityError(f"{where}: expected JSON, found at line {error.lineno}, column {error.colno}: {error.msg}", hint) from error
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{where}: expected JSON in UTF-8, found another byte at {error.start}", hint) from error
    except RecursionError as error:
        raise IntegrityError(f"{where}: expected JSON within limits, found more than {DEEPEST} lists and objects within one another", hint) from error
    except ValueError as error:
        raise IntegrityError(f"{where}: expected JSON within limits, found {error}", hint) from error
    return value


def read_json(path: Path, *, where: object = None, limit: int = LARGEST, hint: str | None = None) -> Any:
    """The same of a file. No more than the limit is read, whatever size the file says it has.

    Raises OSError too, and IntegrityError for what is no regular file: a pipe or a device may never end.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IntegrityError(f"{where or path}: expected a file, found a pipe, a folder or a device", hint)
        text = file.read(limit + 1)
    return parse_json(text, where=where or path, limit=limit, hint=hint)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file. To open a pipe would else wait for somebody who writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {_short(twice)} twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 21 or not -_WHOLE < (value := int(digits)) < _WHOLE:
        raise ValueError(f"an integer of {len(digits)} characters, {_short(digits)}: 64 bits are the most")
    return value


def _float(digits: str) -> float:
    if len(digits) > _LONGEST or not math.isfinite(value := float(digits)):
        raise ValueError(f"a number that is too long or too large: {_short(digits)}")
    return value


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no number in JSON")


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:37]}...")


def _refuse_deep(value: Any) -> None:
    """Raises ValueError where lists and objects lie too deep within one another. A level at a time, so that depth costs no stack."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [one for nest in level for one in (nest.values() if isinstance(nest, dict) else nest) if isinstance(one, dict | list)]
    if level:
        raise RecursionError
