"""`segzoo list`: what the zoo holds, and what of it a person looks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault, NotFoundError
from segzoo.text import in_bytes

if TYPE_CHECKING:
    from segzoo.manifest.artifact import Artifact
    from segzoo.store.store import Store
    from segzoo.zoo.zoo import Zoo

Row = dict[str, Any]
KINDS = {"model": "models", "backbone": "backbones", "data set": "data sets"}
ORDERS: Mapping[str, Callable[[Row], tuple[bool, Any]]] = {
    "miou": lambda row: (row["miou"] is None, -(row["miou"] or 0)),
    "size": lambda row: (_bound(row) is None, _bound(row) or 0),
    "name": lambda row: (False, row["name"]),
}
_LINE = 80  # characters at most
_LEAST = 6  # characters of a data set's name
_GAPS = "  {} {}  {}  {}"  # between the columns of figures


def _bound(row: Row) -> int | None:
    """Bytes of a file, or of its tensors where only these are known."""
    return row["size"] if row["size"] is not None else row["estimated_size"]


def _bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """The value of --max-size."""
    try:
        return None if value is None else in_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("list", short_help="List the models, backbones and data sets of the zoo.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--data", metavar="NAME", type=ZooName("datasets"), help="Models of this data set only.")
@click.option("--max-size", metavar="SIZE", callback=_bytes, help="Files of at most this size only, such as 200MB.")
@click.option("--sort", type=click.Choice(list(ORDERS)), help="What comes first: highest mIoU, smallest file, name.  [default: as in the manifest]")
@click.option("--wide", is_flag=True, help="Show kind, licence and title too, in lines of any length.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(choice: Choice, words: tuple[str, ...], data: str | None, max_size: int | None, sort: str | None, wide: bool, as_json: bool) -> None:
    """List the models, backbones and data sets of the zoo, with their reported figures.

    With a WORD only those that have it in their name, title, family, head or data set; with several, all of them. A size is
    that of the manifest or of a pinned file. With a ~ it is that of the tensors, by the sizes that the manifest names, and the
    file is a little larger. The last column says which files are in the store, with a question mark where you may not look into
    it. A name that an earlier manifest has too is shown for the earlier one only.

    \b
    Examples:
      segzoo list --sort miou
      segzoo list upernet swin --data ade20k
      segzoo list --max-size 200MB
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.failure import show_error
    from segzoo.cli.terminal.show import counted, show, tell
    from segzoo.zoo.names import resolve

    zoo = choice.open()
    if data:
        (data,) = resolve(zoo, [data], False, zoo.manifest.datasets)
    rows, fault = _rows(zoo)
    if fault:
        show_error(fault)
    rows = [row for row in rows if all(word.casefold() in row["said"] for word in words) and (not data or row["data"] == data)]
    if max_size is not None:
        unknown = sum(_bound(row) is None for row in rows)
        rows = [row for row in rows if (bound := _bound(row)) is not None and bound <= max_size]
        if unknown:
            tell(f"{counted(unknown, 'entry', 'entries')} of unknown size left out: a size is known once a file is fetched")
    if not rows and (words or data or max_size is not None):
        raise NotFoundError("nothing in this zoo is all of that", hint=f"segzoo {choice.option}list shows all that there is")
    if sort:
        rows.sort(key=ORDERS[sort])
    shown = [{field: value for field, value in row.items() if field != "said"} for row in rows]
    if as_json:
        show_json(shown)
        return
    for part in zoo.parts:
        if len(zoo.parts) > 1:
            show(f"from {part.given}", style="bold")
        _show([row for row in shown if row["manifest"] == part.given], wide)


def _rows(zoo: Zoo) -> tuple[list[Row], EnvironmentFault | None]:
    """A row for each entry; `said` is what words are looked for in. Where the store may not be read, the error that says why."""
    from segzoo.manifest.entries import Model, family_of
    from segzoo.zoo.likely_size import likely_size

    manifest = zoo.manifest
    kinds: list[tuple[str, Mapping[str, Any]]] = [("model", manifest.models), ("backbone", manifest.backbones), ("data set", manifest.datasets)]
    here, sizes, fault = _here(zoo.store, [entry.artifact for _, entries in kinds for entry in entries.values()])
    rows: list[Row] = []
    for kind, entries in kinds:
        for name, entry in entries.items():
            artifact, reported = entry.artifact, getattr(entry, "reported", None)
            data = entry.protocol.dataset if isinstance(entry, Model) else None
            said = [name, entry.title, kind, data or ""]
            said += [family_of(entry).name, family_of(entry).title] if kind != "data set" else []
            said += [entry.head.kind, *([entry.neck.kind] if entry.neck else [])] if isinstance(entry, Model) else []
            row: Row = {"name": name, "kind": kind, "title": entry.title, "file": artifact and artifact.name, "size": sizes[len(rows)]}
            row["estimated_size"] = likely_size(entry) if row["size"] is None and kind != "data set" else None
            row |= {"miou": reported and reported.miou, "miou_ms_flip": reported and reported.miou_ms_flip}
            row |= {"decimals": reported and reported.decimals, "in_store": here[len(rows)], "manifest": zoo.origins[name].given}
            rows.append(row | {"data": data, "licence": entry.licence, "said": " ".join(said).casefold()})
    return rows, fault


def _here(store: Store, artifacts: list[Artifact | None]) -> tuple[list[bool | None], list[int | None], EnvironmentFault | None]:
    """Whether each artifact is in the store, and its size. Where the store may not be read, None for each, and the error that says why."""
    sizes = [artifact.joint_size if artifact else None for artifact in artifacts]
    try:
        pins = store.pins()
        sizes = [_size(artifact, pins) if artifact else None for artifact in artifacts]
        expectations = iter(store.expectations([artifact for artifact in artifacts if artifact]))
        return [artifact is not None and store.holds(artifact, next(expectations)) for artifact in artifacts], sizes, None
    except EnvironmentFault as error:
        return [None] * len(artifacts), sizes, error


def _size(artifact: Artifact, pins: Mapping[str, Any]) -> int | None:
    """Bytes of an artifact with all its shards, where the manifest says them or a pin does."""
    sizes = [one.size or pins.get(one.name, {}).get("size") for one in artifact.files]
    return None if None in sizes else sum(size for size in sizes if size)


def _show(rows: list[Row], wide: bool) -> None:
    """A table for each kind. The columns are those of all kinds, so that figures stand under each other."""
    from segzoo.cli.terminal.show import columns, show

    heads = {"model": ("data", "mIoU", "ms+flip"), "backbone": ("", "", ""), "data set": ("", "", "")}
    lines = [((title, *heads[kind], "size", "here", "kind", "title", "licence"), kind) for kind, title in KINDS.items()]
    tables = [[head, *(_cells(row) for row in rows if row["kind"] == kind)] for head, kind in lines]
    tables = [table for table in tables if len(table) > 1]
    widths = [max((len(line[column]) for table in tables for line in table), default=0) for column in range(9)]
    shown = 9 if wide else 6
    most = columns(_LINE)
    close = not wide and sum(widths[:6]) + 5 * len("  ") > most
    longest = max((len(f"{name} {data}") for table in tables for name, data, *_ in table), default=0)
    named = min(longest, most - sum(widths[2:6]) - len(_GAPS.replace("{}", "")))
    for table in tables:
        for row in table:
            padded = [f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>>><<<<", widths, strict=True)]
            text = _named(row[0], row[1], named) + _GAPS.format(*padded[2:6]) if close else "  ".join(padded[:shown])
            show(text.rstrip(), style="bold" if row is table[0] else "")


def _named(name: str, data: str, width: int) -> str:
    """A name and, at the end of this width, its data set, which is cut where there is no room for it."""
    room = max(width - len(name) - 1, _LEAST)
    return f"{name} {_cut(data, room):>{room}}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _cells(row: Row) -> tuple[str, ...]:
    from segzoo.cli.terminal.show import megabytes
    from segzoo.text import brief

    miou, flip = ("" if row[figure] is None else f"{row[figure]:.{row['decimals']}f}" for figure in ("miou", "miou_ms_flip"))
    data, size = row["data"] or "", "" if (bound := _bound(row)) is None else megabytes(bound)
    size = f"~{size}" if row["size"] is None and size else size
    here = "?" if row["in_store"] is None else "yes" if row["in_store"] else ""
    return row["name"], data, miou, flip, size, here, row["kind"], brief(row["title"]), brief(row["licence"] or "not known")
