"""Text that can be shown and written anywhere: names of files, which need not be UTF-8, and JSON."""

import json
import re
from typing import Any


def legible(text: str) -> str:
    r"""The text with \xe4 for a byte that is no UTF-8, which Python keeps as half of a surrogate pair; of any other text the same."""
    shown = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return shown.encode("utf-8", "backslashreplace").decode()


def json_text(record: Any, *, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """A record as JSON: indented, but a list of numbers on one line. Raises ValueError for what is no JSON, such as NaN."""
    text = json.dumps(record, indent=2, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)
    # a newline inside a text is escaped, so that one after a bracket is of a list
    return re.sub(r"\[\n[-\d.eE+,\s]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
