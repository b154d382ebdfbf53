"""`segzoo list`: what the zoo holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault

if TYPE_CHECKING:
    from rich.table import Table

    from segzoo.manifest.artifact import Artifact
    from segzoo.store.store import Store


@click.command("list", short_help="List the backbones, models and data sets of the zoo.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(choice: Choice, as_json: bool) -> None:
    """List the backbones, models and data sets of the zoo, with their reported figures.

    The last column says which files are in the store, with a question mark where you may not look into it. Each
    manifest has its own table. A name that an earlier manifest has too is shown in the table of the earlier one only.
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.console import console
    from segzoo.cli.terminal.failure import show_error
    from segzoo.cli.terminal.show import show

    zoo = choice.open()
    manifest, store = zoo.manifest, zoo.store
    kinds: list[tuple[str, Mapping[str, Any]]] = [("backbone", manifest.backbones), ("model", manifest.models), ("data set", manifest.datasets)]
    rows: list[dict[str, Any]] = []
    here, fault = _here(store, [entry.artifact for _, entries in kinds for entry in entries.values()])
    for kind, entries in kinds:
        for name, entry in entries.items():
            artifact, reported = entry.artifact, getattr(entry, "reported", None)
            rows.append({"name": name, "kind": kind, "title": entry.title})
            rows[-1] |= {"file": artifact and artifact.name, "size": artifact and artifact.joint_size}
            rows[-1] |= {"miou": reported and reported.miou, "miou_ms_flip": reported and reported.miou_ms_flip}
            rows[-1]["decimals"] = reported and reported.decimals
            rows[-1]["in_store"] = here[len(rows) - 1]
            rows[-1]["manifest"] = zoo.origins[name].given
    if fault:
        show_error(fault)
    if as_json:
        show_json(rows)
        return
    for part in zoo.parts:
        mine = [row for row in rows if row["manifest"] == part.given]
        if len(zoo.parts) > 1:
            show(f"from {part.given}", style="bold")
        console().print(_table(mine))


def _here(store: Store, artifacts: list[Artifact | None]) -> tuple[list[bool | None], EnvironmentFault | None]:
    """Whether each artifact is in the store. Where the store may not be read, None for each, and the error that says why."""
    try:
        expectations = iter(store.expectations([artifact for artifact in artifacts if artifact]))
        return [artifact is not None and store.holds(artifact, next(expectations)) for artifact in artifacts], None
    except EnvironmentFault as error:
        return [None] * len(artifacts), error


def _table(rows: list[dict[str, Any]]) -> Table:
    from segzoo.cli.terminal.console import Grid
    from segzoo.cli.terminal.show import megabytes

    figures = ("mIoU", "ms+flip", "size", "here")
    table = Grid(("name", "kind", "title", *figures), folded=("title",), right=figures)
    for row in rows:
        reported = ("" if row[figure] is None else f"{row[figure]:.{row['decimals']}f}" for figure in ("miou", "miou_ms_flip"))
        size = "" if row["size"] is None else megabytes(row["size"])
        here = "?" if row["in_store"] is None else "yes" if row["in_store"] else ""
        table.row(row["name"], row["kind"], row["title"], *reported, size, here)
    return table.drawn
