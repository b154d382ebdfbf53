r"""Text from outside as text that can be shown: names in files, answers of servers, receipts, and JSON.

Whatever a stranger wrote, it may not look like something that segzoo says. One character must stand for itself or for its escape: a new line is
\n, an escape character \x1b, a sign that turns the direction of writing \u202e, a byte that is not UTF-8 \xe4. Letters of all scripts stay.
"""

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks to Unicode, and nothing to the eye
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_UNITS = {"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_BLANKS = re.compile(f"[{_BLANK}]")


def legible(text: str) -> str:
    r"""The text on one line, with an escape in place of each character that cannot be seen, or moves what stands beside it.

    What is legible stays as it is, so a text may be made legible twice. A text that has a backslash may look like an escape.
    """
    if text.isprintable() and not _BLANKS.search(text):
        return text
    return "".join(sign if sign.isprintable() and sign not in _BLANK else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    r"""Python keeps a byte that is not UTF-8 as half of a surrogate pair. Such a byte is \x9b, and the control character of that number \u009b."""
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(sign) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def brief(text: str, most: int = 300) -> str:
    """The text, legible. If it has more than `most` characters, its middle is left out and its length is said."""
    if len(text) > most:
        kept = most // 2
        return f"{legible(text[:kept])} \u2026 {len(text):,} characters \u2026 {legible(text[-kept:])}"
    return legible(text)


def quoted(word: str) -> str:
    r"""A word for a command that is shown, to be copied into a shell. What is not legible is written as $'\n', as bash, zsh and ksh read it."""
    if legible(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(f"\\{sign}" if sign in "\\'" else legible(sign) for sign in word) + "'"


def json_text(record: Any, *, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """A record as indented JSON, with lists of numbers on one line. Raises ValueError for a value that JSON cannot hold, such as NaN.

    What is not legible is escaped as JSON escapes it, so a reader gets the exact text.
    """
    text = json.dumps(record, indent=2, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)
    # JSON escapes a newline inside a text, so a newline after a bracket always belongs to a list
    text = re.sub(r"\[\n[-\d.eE+,\s]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
    return "\n".join(line if legible(line) == line else "".join(map(_in_json, line)) for line in text.split("\n"))


def _in_json(sign: str) -> str:
    if legible(sign) == sign:
        return sign
    halves = sign.encode("utf-16-be", "surrogatepass").hex()  # two of them beyond the first 65,536 characters
    return "".join(f"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4))


def in_bytes(text: str) -> int:
    """A size as people write it, in bytes or decimal units, such as 200MB or 1.2GB. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) ?([kMG]?B)?", text.replace("KB", "kB"))
    if not found:
        raise ValueError(f"'{text}' is no size, such as 200MB or 1.2GB")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def listed(names: Sequence[str]) -> str:
    """At least one name, as a sentence lists them: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
