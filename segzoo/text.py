"""Text that can be shown and written anywhere: names of files, which need not be UTF-8, and JSON."""

import json
import re
from typing import Any


def legible(text: str) -> str:
    r"""The text with \xe4 in place of a byte that is not UTF-8. Python keeps such a byte as half of a surrogate pair."""
    shown = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return shown.encode("utf-8", "backslashreplace").decode()


def json_text(record: Any, *, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """A record as indented JSON, with lists of numbers on one line. Raises ValueError for a value that JSON cannot hold, such as NaN."""
    text = json.dumps(record, indent=2, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)
    # JSON escapes a newline inside a text, so a newline after a bracket always belongs to a list
    return re.sub(r"\[\n[-\d.eE+,\s]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
