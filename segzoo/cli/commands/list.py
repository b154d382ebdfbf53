"""`segzoo list`: what the zoo holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice

if TYPE_CHECKING:
    from rich.table import Table


@click.command("list", short_help="List the backbones, models and data sets of the zoo.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(choice: Choice, as_json: bool) -> None:
    """List the backbones, models and data sets of the zoo, with their reported figures.

    The last column says which files are in the store. Each manifest has its own table. A name that an earlier
    manifest has too is shown in the table of the earlier one only.
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.console import console

    zoo = choice.open()
    manifest, store = zoo.manifest, zoo.store
    kinds: list[tuple[str, Mapping[str, Any]]] = [("backbone", manifest.backbones), ("model", manifest.models), ("data set", manifest.datasets)]
    artifacts = [entry.artifact for _, entries in kinds for entry in entries.values() if entry.artifact]
    here = {one for one, known in zip(artifacts, store.expectations(artifacts), strict=True) if store.stored(known.sha256)}
    rows: list[dict[str, Any]] = []
    for kind, entries in kinds:
        for name, entry in entries.items():
            artifact, reported = entry.artifact, getattr(entry, "reported", None)
            rows.append({"name": name, "kind": kind, "title": entry.title, "file": artifact and artifact.name, "size": artifact and artifact.size})
            rows[-1] |= {"miou": reported and reported.miou, "miou_ms_flip": reported and reported.miou_ms_flip}
            rows[-1]["decimals"] = reported and reported.decimals
            rows[-1]["in_store"] = artifact in here
            rows[-1]["manifest"] = zoo.origins[name].given
    if as_json:
        show_json(rows)
        return
    drawn_on = console()
    for part in zoo.parts:
        mine = [row for row in rows if row["manifest"] == part.given]
        if len(zoo.parts) > 1:
            drawn_on.print(f"from {part.given}", style="bold", markup=False)
        drawn_on.print(_table(mine))


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    from segzoo.cli.terminal.show import megabytes

    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind"):
        table.add_column(column, no_wrap=True)
    table.add_column("title", overflow="fold")
    for column in ("mIoU", "ms+flip", "size", "here"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        figures = ("" if row[figure] is None else f"{row[figure]:.{row['decimals']}f}" for figure in ("miou", "miou_ms_flip"))
        size = "" if row["size"] is None else megabytes(row["size"])
        table.add_row(row["name"], row["kind"], row["title"], *figures, size, "yes" if row["in_store"] else "")
    return table
