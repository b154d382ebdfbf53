"""Writes into docs/measured.md what the benches have recorded and, if named, what bench/prove_zoo.py has found.

python docs/measured.py [proved/proved.json]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segzoo.publishing.markdown import code, prose
from segzoo.vocabulary import RUNGS

PAGE = Path(__file__).with_suffix(".md")
BENCHES = PAGE.parents[1] / "bench" / "measured.json"
MARK, END = "<!-- {}: written by `python docs/measured.py` -->\n", "<!-- end of {} -->\n"


def benches(records: Sequence[dict[str, Any]]) -> str:
    """A heading and a sentence for each bench; for each command of it the machine and a table. What an early record lacks is left out."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        parts.setdefault(record["command"].split()[1], []).append(record)
    return "\n".join(_bench(name, found) for name, found in sorted(parts.items()))


def _bench(name: str, records: Sequence[dict[str, Any]]) -> str:
    tables = "\n".join(f"{code(one['command'])}: {_where(one)}.\n\n{_table(one['figures'])}" for one in records)
    return f"### {name}\n\n{records[-1]['claim']}\n\n{tables}"


def _where(record: dict[str, Any]) -> str:
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = None if machine["load"] is None else f"load {machine['load']} at the start"
    told = record["date"], machine["gpu"], machine["processor"], f"{machine['cores']} cores", load, versions
    return ", ".join(prose(one) for one in told if one)


def _table(figures: dict[str, dict[str, float | str]]) -> str:
    names = list(dict.fromkeys(name for found in figures.values() for name in found))
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    lines += [f"| {prose(case)} | {' | '.join(_figure(found.get(name, '')) for name in names)} |" for case, found in figures.items()]
    return "\n".join(lines) + "\n"


def _figure(figure: float | str) -> str:
    if isinstance(figure, str):
        return prose(figure)
    return f"{figure:,.0f}" if figure == int(figure) else f"{figure:g}"


def zoo(found: dict[str, Any]) -> str:
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


def page(text: str, **sections: str) -> str:
    """The page with each of these sections in the place of the one before."""
    for name, section in sections.items():
        mark, end = MARK.format(name), END.format(name)
        before, rest = text.split(mark)
        text = before + mark + section + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    written = {"benches": benches(json.loads(BENCHES.read_text(encoding="utf-8")))}
    if sys.argv[1:]:
        written["zoo"] = zoo(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), **written), encoding="utf-8")
