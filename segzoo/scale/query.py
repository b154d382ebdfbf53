"""Files chosen from the index: those for which an expression of DuckDB's is true, the best of them, the first few."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from segzoo.errors import UsageError
from segzoo.scale.database import select
from segzoo.scale.index import CLOSED, COLUMNS, open_index
from segzoo.scale.release import FAMILIES, Family, expected
from segzoo.text import brief
from segzoo.vocabulary import RELEASED

SECONDS_A_FILE, SECONDS_A_BYTE = 0.12, 0.0101e-6  # of a core, for all rungs but numbers and one conversion, by Ti/16 and B/16 (docs/scale.md)
SECONDS_A_KIND = 12.0  # of a core, for the numbers rung of one kind of file, by parameters and tokens over the 123 kinds
_ALL = ("file", "kind", *COLUMNS)


@dataclass(frozen=True)
class Query:
    """What is asked of the index. `best` is the column to order by, highest first; `per` keeps the best one for each value of a column;
    `first` keeps so many of what is left. `kinds` are the kinds of files that are looked at.
    """

    expression: str = "true"
    kinds: tuple[str, ...] = ("finetuned",)
    best: str | None = None
    per: str | None = None
    first: int | None = None


@dataclass(frozen=True)
class Found:
    """The rows that were chosen, in order, and how much they are. `sized` counts the files whose size is known; `kinds` the kinds of files."""

    rows: Sequence[Mapping[str, Any]]
    bytes: int
    sized: int
    kinds: int
    seconds: float = field(default=0.0)

    @property
    def hours(self) -> float:
        """Estimated hours of one core, without the network."""
        return self.seconds / 3600


def query(path: Path, asked: Query, families: Mapping[str, Family] = FAMILIES) -> Found:
    """The rows of an index that are asked for.

    Raises UsageError for an unknown column or value, with the nearest one, and what `open_index` raises.
    """
    for column in (asked.best, asked.per):
        if column is not None:
            _refuse_unknown(column)
    if asked.per and not asked.best:
        raise UsageError(f"the best one for each {asked.per}: by which column?", hint="--best COLUMN, such as --best adapt_final_val")
    with open_index(path) as connection:
        refuse_slips(asked.expression, connection)
        keep = f' QUALIFY row_number() OVER (PARTITION BY "{asked.per}" ORDER BY "{asked.best}" DESC NULLS LAST, file) = 1' if asked.per else ""
        order = f'"{asked.best}" DESC NULLS LAST, file' if asked.best else "kind, file"
        kinds = ", ".join(f"'{kind}'" for kind in RELEASED if kind in asked.kinds)
        valued = f' AND "{asked.best}" IS NOT NULL' if asked.best else ""  # a file without the figure is no candidate for the best one
        sql = f"SELECT * FROM files WHERE kind IN ({kinds}){valued} AND (\n{asked.expression}\n){keep} ORDER BY {order}"
        rows = select(connection, sql + (f" LIMIT {int(asked.first)}" if asked.first is not None else ""), what="expression")
    return found(rows, families)


def found(rows: Sequence[Mapping[str, Any]], families: Mapping[str, Family] = FAMILIES) -> Found:
    sizes = [one.size for row in rows if (one := expected(row, families))]
    kinds = {(row["name"], row["adapt_ds"] or row["ds"], row["adapt_resolution"]) for row in rows}
    return Found(rows, sum(sizes), len(sizes), len(kinds), len(rows) * SECONDS_A_FILE + sum(sizes) * SECONDS_A_BYTE + len(kinds) * SECONDS_A_KIND)


def refuse_slips(expression: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Raises UsageError for what is more, or less, than one condition on a row, and for a column or a value that the index does not have.

    DuckDB itself finds a misspelt value nowhere, and would answer with no rows.
    """
    plain, asked = (_parsed(one, connection) for one in ("true", expression))
    if {**asked, "where_clause": None} != {**plain, "where_clause": None} or _has(asked["where_clause"], "SUBQUERY"):
        raise UsageError(f"expected one condition on a row, found {brief(expression, 200)}", hint="such as: name = 'B/16' and adapt_ds = 'kitti'")
    for node in _nodes(asked["where_clause"]):
        if node.get("class") == "COLUMN_REF":
            _refuse_unknown(node["column_names"][-1])
        for column, value in _compared(node):
            if column in CLOSED:
                _refuse_value(column, value, connection)


def _parsed(expression: str, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The statement that takes the rows for which the expression is true, without the places of its words."""
    sql = f"SELECT * FROM files WHERE (\n{expression}\n)"
    text: str = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    parsed = json.loads(text)
    if parsed["error"]:
        reserved = next((word for word in ("do",) if f'near "{word}"' in parsed["error_message"]), None)
        hint = f'{reserved} is a word of SQL: write "{reserved}" in double quotes' if reserved else "such as: name = 'B/16' and adapt_ds = 'kitti'"
        raise UsageError(f"{brief(expression, 200)}: {brief(parsed['error_message'], 200)}", hint=hint)
    if len(parsed["statements"]) != 1:
        raise UsageError(f"expected one condition on a row, found {len(parsed['statements'])} statements")
    node: dict[str, Any] = _placeless(parsed["statements"][0]["node"])
    return node


def _placeless(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _placeless(one) for name, one in node.items() if not name.startswith("query_location")}
    return [_placeless(one) for one in node] if isinstance(node, list) else node


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(one)


def _has(node: Any, kind: str) -> bool:
    return any(one.get("class") == kind for one in _nodes(node))


def _compared(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values that a column is said to be equal to, or one of."""
    if node.get("type") in ("COMPARE_EQUAL", "COMPARE_NOTEQUAL") and node.get("class") == "COMPARISON":
        sides = [node["left"], node["right"]]
    elif node.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):
        sides = node["children"]
    else:
        return
    columns = [one["column_names"][-1] for one in sides if one.get("class") == "COLUMN_REF"]
    for one in sides:
        if len(columns) == 1 and one.get("class") == "CONSTANT" and one["literal"].get("text") is not None:
            yield columns[0].lower(), one["literal"]["text"]


def _refuse_unknown(column: str) -> None:
    if column.lower() in _ALL:
        return
    near = difflib.get_close_matches(column.lower(), _ALL, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(_ALL)}"
    raise UsageError(f"the index has no column {brief(column, 80)!r}; {guess}", hint="a text stands in single quotes: name = 'B/16'")


def _refuse_value(column: str, value: str, connection: duckdb.DuckDBPyConnection) -> None:
    there = [one for (one,) in connection.execute(f'SELECT DISTINCT "{column}" FROM files WHERE "{column}" IS NOT NULL ORDER BY 1').fetchall()]
    if isinstance(there[0] if there else "", str):
        known, near = value in there, difflib.get_close_matches(value, there, n=1, cutoff=0.3)
    else:
        number = _number(value)
        known, near = number in there, [f"{min(there, key=lambda one: abs(one - number)):g}"] if number is not None and there else []
    if not known:
        words = ", ".join(f"{one}" if isinstance(one, str) else f"{one:g}" for one in there)
        raise UsageError(f"no file has {column} = {brief(value, 80)!r}" + (f"; did you mean {near[0]}?" if near else ""), hint=f"{column}: {words}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
