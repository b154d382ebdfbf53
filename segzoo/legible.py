"""Text that can be shown and written anywhere, of names of files: these are bytes, which need not be UTF-8."""

import re


def legible(text: str) -> str:
    r"""The text with \xe4 for a byte that is no UTF-8, which Python keeps as half of a surrogate pair; of any other text the same."""
    shown = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return shown.encode("utf-8", "backslashreplace").decode()
