"""`segzoo catalogue`: all that is known of a run's files, as one Parquet file to ask in SQL."""

from __future__ import annotations

from typing import Any

import click

from segzoo.extras import require

_WIDEST = 60


@click.command(short_help="Make and ask the catalogue of a run: SQL over a Parquet file.")
@click.argument("run", metavar="RUN")
@click.argument("sql", required=False, metavar="[SELECT]")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def catalogue(run: str, sql: str | None, as_json: bool) -> None:
    """Compact the rows of a run into RUN/catalogue.parquet, and ask it.

    The catalogue has a row for each file and rung: status, exit code, seconds, sha256, size, layout, geometry, figures, versions, machine,
    time, and what the index says. SELECT is a query of DuckDB's over the table files; without one the catalogue is only made. It
    is made anew each time, from the rows that are there. DuckDB, pandas and polars open the file as it is.

    \b
    Examples:
      segzoo catalogue RUN "select name, rung from files where status <> 'passed'"
      segzoo catalogue RUN "select rung, avg(seconds) from files group by rung"
      segzoo catalogue RUN "describe files"
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, show, tell

    require("duckdb")
    from segzoo.scale.catalogue import ask, compact
    from segzoo.scale.place import place_of
    from segzoo.scale.plan import thaw

    place = place_of(run)
    path, count = compact(thaw(place), place)
    where = str(path) if path else f"{place.address}/catalogue.parquet"
    found = ask(place, sql) if sql else []
    if as_json:
        show_json({"catalogue": where, "rows": count, "found": [{name: _plain(value) for name, value in row.items()} for row in found]})
        return
    if not sql:
        show(f"{where}: {counted(count, 'row')}")
    elif not found:
        tell("no rows", style="dim")
    for line in _table(found):
        show(line)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Rows as lines of columns, each as wide as its widest value, within bounds."""
    if not found:
        return []
    cells = [list(found[0]), *([_cell(value) for value in row.values()] for row in found)]
    widths = [min(_WIDEST, max(len(row[at]) for row in cells)) for at in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
