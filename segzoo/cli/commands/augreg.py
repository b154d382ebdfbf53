"""`segzoo augreg`: the AugReg release, 52,268 files: chosen by its index, planned, fetched, converted, proved."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice, network_options
from segzoo.cli.runs import doing_of, doing_options, frozen, run, status
from segzoo.extras import require
from segzoo.vocabulary import RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable

    from segzoo.scale.augreg import Source
    from segzoo.scale.query import Found, Query

_SHOWN = 20


@click.group(short_help="Choose files of the AugReg release; fetch, convert and prove thousands.")
def augreg() -> None:
    """The files of "How to train your ViT": 759 pretrained and 51,509 finetuned, with an index of how each was trained.

    An EXPRESSION is a condition of DuckDB's on a row of the index, such as "name = 'B/16' and adapt_ds = 'kitti'".
    Columns: file, kind, name, ds, epochs, lr, aug, wd, "do", sd, best_val, final_val, final_test, adapt_ds, adapt_lr,
    adapt_steps, adapt_resolution, adapt_final_val, adapt_final_test, params, infer_samples_per_sec, filename, adapt_filename.
    """


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """EXPRESSION and the options that choose files."""
    for option in reversed(
        (
            click.argument("expression", default="true"),
            click.option("--kind", type=click.Choice((*RELEASED, "all")), default=RELEASED[0], show_default=True, help="Which files to look at."),
            click.option("--best", metavar="COLUMN", help="The highest value first; files without a value are left out."),
            click.option("--per", metavar="COLUMN", help="Of --best, only the best one for each value of this column."),
            click.option("--first", type=click.IntRange(min=1), metavar="N", help="No more than N files."),
            click.option("--index", type=click.Path(path_type=Path), metavar="FILE", help="Index to read.  [default: the zoo's, fetched and pinned]"),
        )
    ):
        command = option(command)
    return command


def asked(expression: str, kind: str, best: str | None, per: str | None, first: int | None) -> Query:
    from segzoo.scale.query import Query

    return Query(expression, RELEASED if kind == "all" else (kind,), best, per, first)


def opened(choice: Choice, index: Path | None) -> Source:
    """The index at hand; it is fetched if none is named."""
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.scale.augreg import source

    with byte_progress("index.csv") as said:
        return source(choice.open(), index, said)


@augreg.command(short_help="List files of the release for which a condition is true.")
@choosing
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@network_options
@click.pass_obj
def query(
    choice: Choice, /, expression: str, kind: str, best: str | None, per: str | None, first: int | None, index: Path | None, as_json: bool
) -> None:
    """List the files for which EXPRESSION is true; without one, all.

    How many they are, their bytes, and an estimate of the hours of one core come first. Choose pretrained models by final_val, as the
    authors recommend, and finetuned ones by adapt_final_val: a test figure that chose a model no longer tells how good it is.

    \b
    Examples:
      segzoo augreg query "name = 'B/16' and adapt_ds = 'oxford_iiit_pet'" --best adapt_final_val --per aug --first 5
      segzoo augreg query "name = 'R+Ti/16'" --kind all
    """
    from segzoo.cli.terminal.answer import show_json

    require("duckdb")
    from segzoo.scale.query import query as rows_of

    given = asked(expression, kind, best, per, first)
    found = rows_of(opened(choice, index).index, given)
    if as_json:
        show_json({"files": len(found.rows), "bytes": found.bytes, "core_hours": round(found.hours, 3), "kinds": found.kinds, "rows": found.rows})
    else:
        _show(found, given)


def _show(found: Found, given: Query) -> None:
    from segzoo.cli.terminal.show import show, tell

    show(size_of(found), style="bold")
    for row in found.rows[:_SHOWN]:
        figures = {column: row[column] for column in dict.fromkeys(filter(None, (given.per, given.best)))}
        show("  ".join([*(f"{column} {value}" for column, value in figures.items()), row["file"]]))
    if len(found.rows) > _SHOWN:
        tell(f"and {len(found.rows) - _SHOWN:,} more; --first N, or --json for all", style="dim")


def size_of(found: Found) -> str:
    """How many files, how large, how long."""
    from segzoo.cli.terminal.show import counted, gigabytes

    unsure = len(found.rows) - found.sized
    parts = [counted(len(found.rows), "file"), gigabytes(found.bytes), f"about {found.hours:,.2g} core-hours" if found.hours < 10 else ""]
    parts[2] = parts[2] or f"about {found.hours:,.0f} core-hours"
    return ", ".join([*parts, counted(found.kinds, "kind"), *([f"{unsure} of unknown size"] if unsure else [])])


@augreg.command(short_help="Freeze what to do with files of the release.")
@choosing
@doing_options
@click.option("--listing", type=click.Path(path_type=Path), metavar="FILE", help="What gcloud storage objects list --format=json says of the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print what was planned as JSON.")
@network_options
@click.pass_obj
def plan(
    choice: Choice,
    /,
    expression: str,
    kind: str,
    best: str | None,
    per: str | None,
    first: int | None,
    index: Path | None,
    output: str,
    listing: Path | None,
    sizes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Freeze the work on the files that EXPRESSION chooses: which, where, what they must be, and what to do with each.

    RUN/plan.json and RUN/work.jsonl are the plan; the same choice again must give the same plan. A run fetches each file, proves it, converts
    it where --to names a layout, and keeps the conversion, the source (in the store), or none, for which the disk need only hold the files in
    flight. With --listing, sizes and checksums are those of the bucket; --sizes asks the hosts themselves. Both cost no download.

    \b
    Examples:
      segzoo augreg plan "name = 'R+Ti/16'" -o RUN --to timm
      segzoo augreg plan --kind all -o RUN --keep none
    """
    require("duckdb")
    from segzoo.scale.listing import read_listing
    from segzoo.scale.make import absolute_zoos, of_rows
    from segzoo.scale.query import query as rows_of

    given = asked(expression, kind, best, per, first)
    at_hand = opened(choice, index)
    found = rows_of(at_hand.index, given)
    listed = read_listing(listing) if listing else None
    made = of_rows(found.rows, given, at_hand.index, at_hand.files, doing_of(options), absolute_zoos(choice.zoo), listed)
    frozen(choice, made, output, sizes, as_json)


for command in (run, status):
    augreg.add_command(copy(command))  # each group gives its commands the program's options
