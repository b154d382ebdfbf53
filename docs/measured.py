"""Writes what bench/prove_zoo.py has found into docs/measured.md: `python docs/measured.py proved/proved.json`."""

import json
import sys
from pathlib import Path
from typing import Any

from segzoo.publishing.markdown import code, prose
from segzoo.vocabulary import RUNGS

PAGE = Path(__file__).with_suffix(".md")
MARKS = ("<!-- zoo: written by `python docs/measured.py PROVED.json` -->\n", "<!-- end of zoo -->\n")


def section(found: dict[str, Any]) -> str:
    """The entries that were tried, one line each. Those that were too large, or whose size no address named, are only counted."""
    tried = [entry for entry in found["entries"] if "rungs" in entry]
    left = len(found["entries"]) - len(tried)
    lines = [
        f"By `python bench/prove_zoo.py`, {found['time'][:10]}: {len(tried)} entries tried, {left} left out for their size.",
        "",
        f"| entry | {' | '.join(RUNGS)} | outcome |",
        "|---" * (len(RUNGS) + 2) + "|",
    ]
    for entry in tried:
        cells = " | ".join(_cell(entry["rungs"].get(rung)) for rung in RUNGS)
        lines.append(f"| {code(entry['name'])} | {cells} | {entry['status']} |")
    return "\n".join(lines) + "\n"


def _cell(rung: dict[str, str] | None) -> str:
    """What came of a rung, and what it says where it passed. Such words are a server's and a file's too."""
    if rung is None:
        return ""
    return f"{rung['status']} {prose(rung['detail']) if rung['status'] == 'passed' else ''}".strip()


def page(text: str, found: dict[str, Any]) -> str:
    """The page with this section in the place of the one before."""
    before, rest = text.split(MARKS[0])
    return before + MARKS[0] + section(found) + MARKS[1] + rest.split(MARKS[1])[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
