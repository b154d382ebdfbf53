"""JSON as segzoo writes it: indented, but a list of numbers on one line."""

import json
import re
from typing import Any


def dumps(record: Any, *, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """The text, without a newline at its end. Raises ValueError for what is no JSON, such as NaN."""
    text = json.dumps(record, indent=2, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)
    # a newline inside a text is escaped, so that one after a bracket is of a list
    return re.sub(r"\[\n[-\d.eE+,\s]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
