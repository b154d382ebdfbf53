"""Texts from outside in Markdown, escaped for where they stand: in a sentence, as code, in a fence, as an address.

The rules are those of CommonMark, and of GitHub's tables, bare addresses and formulas.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote

from segzoo.text import legible

_BEGINS_A_BLOCK = re.compile(r"^((?=[-+](?: |$)|=+ *$|-+ *$)|\d{1,9}(?=[.)](?: |$)))")  # a list, a line below a heading


class Written(str):
    """Markdown that is written already: what it was made of is escaped."""

    __slots__ = ()


def prose(text: object) -> Written:
    """A text in a sentence, a heading or a cell of a table."""
    plain = legible(str(text)).strip()
    escaped = re.sub(r"([\\`*_\[\]<>|#&~!$])", r"\\\1", plain)
    escaped = re.sub(r":(?=//)", r"\\:", escaped)  # neither of these two becomes a link by itself
    escaped = re.sub(r"(?<=www)\.", r"\\.", escaped, flags=re.IGNORECASE)
    return Written(_BEGINS_A_BLOCK.sub(r"\1\\", escaped))


def code(text: object) -> Written:
    """A text as a code span. The fence is longer than any run of backticks in the text."""
    plain = legible(str(text)).strip()
    fence = _fence(plain, 1)
    space = " " if plain[:1] in "`" or plain[-1:] in "`" else ""
    return Written(f"{fence}{space}{plain}{space}{fence}")


def fenced(lines: Iterable[str], language: str = "") -> Written:
    """Lines as a block of code."""
    text = "\n".join(map(legible, lines))
    fence = _fence(text, 3)
    return Written(f"{fence}{language}\n{text}\n{fence}")


def _fence(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])


def link(url: str) -> Written:
    """An address as a link. An address that is relative to the manifest, or on its author's machine, leads nowhere and is left out."""
    return Written(
        f"<{quote(url, safe=':/?#[]@!$&()*+,;=%~', errors='surrogatepass')}>" if re.match("https?://", url) else "an address beside the manifest"
    )


def within(path: str) -> Written:
    """The path of a file in the same folder, as the address of a link or a picture."""
    return Written(quote(path, errors="surrogatepass"))
