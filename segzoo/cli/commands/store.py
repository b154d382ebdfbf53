"""`segzoo store`: the files in the store, listed, hashed again, removed. `store_add` and `store_bundle` are how files come and go by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.aliased import Aliased
from segzoo.cli.commands.store_add import add
from segzoo.cli.commands.store_bundle import bundle, load
from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, SegzooError

if TYPE_CHECKING:
    from pathlib import Path

    from segzoo.manifest.artifact import Artifact
    from segzoo.store.store import Store


@click.group(cls=Aliased, earlier={"create": ("bundle",)}, short_help="Fill, carry, see, check and empty the store.")
def store() -> None:
    """The store of verified files: $SEGZOO_HOME, else $XDG_CACHE_HOME/segzoo, else ~/.cache/segzoo."""


for _command in (add, bundle, load):
    store.add_command(_command)


@store.command("dir", short_help="Print where the store is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def dir_(as_json: bool) -> None:
    """Print where the store is."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import put
    from segzoo.store.store import home

    if as_json:
        show_json({"path": str(home())})
    else:
        put(str(home()))


@store.command("ls", short_help="List what is in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ls(choice: Choice, as_json: bool) -> None:
    """List the files in the store with the names that this zoo has for them, and the parts of broken downloads."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, megabytes, show
    from segzoo.store.leftovers import leftovers

    zoo = choice.open()
    rows = _rows(zoo.store, zoo.manifest.artifacts)
    if as_json:
        show_json(rows)
        return
    for row in rows:
        show(f"{row['sha256'][:12]}  {megabytes(row['size']):>9}  {', '.join(row['names']) or '(not in this zoo)'}")
    parts = leftovers(zoo.store)
    total = sum(row["size"] for row in rows)
    show(f"{counted(len(rows), 'file')}, {megabytes(total)}, in {zoo.store.home}")
    if broken := [size for path, size in parts.items() if path.parent == zoo.store.partials]:
        show(f"{counted(len(broken), 'unfinished download')}, {megabytes(sum(broken))}: fetch goes on from there, store prune removes them")
    if len(parts) > len(broken):
        left = megabytes(sum(parts.values()) - sum(broken))
        show(f"{counted(len(parts) - len(broken), 'part')} of what killed runs wrote, {left}: store prune removes them")
    for path in zoo.store.strangers():
        show(f"{path}: no file of the store")


@store.command("verify", short_help="Hash every file in the store again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(choice: Choice, as_json: bool) -> None:
    """Hash every file in the store again.

    A file that has changed on disk is named, and stays until store rm removes it; exit 4 then. A file that you may not read is named too,
    and so is what stands among the files and is none, such as a link.
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.failure import show_error
    from segzoo.cli.terminal.progress import many_progress
    from segzoo.cli.terminal.show import counted, show
    from segzoo.store.hashing import digest_of

    zoo = choice.open()
    listed = _rows(zoo.store, zoo.manifest.artifacts)
    rows: list[dict[str, Any]] = []
    whole, done = sum(row["size"] for row in listed), 0
    with many_progress() as said:
        for row in listed:
            try:
                found, _ = digest_of(zoo.store.blob(row["sha256"]), links=False)
                rows.append(row | {"right": found == row["sha256"]})
            except FileNotFoundError:  # removed by another process since it was listed
                pass
            except OSError:
                rows.append(row | {"right": None})
            said("hashing", done := done + row["size"], whole)
    errors = _faults(rows, zoo.store.strangers())
    if as_json:
        show_json(rows, *errors)
    for row in () if as_json else rows:
        if not row["right"]:
            what = "may not be read" if row["right"] is None else "changed on disk"
            show(f"{what}: {row['sha256']}  {', '.join(row['names'])}", style="bold red")
    for error in errors:
        show_error(error)
    if errors:
        raise SystemExit(min(error.exit_code for error in errors))
    if not as_json:
        show(f"{counted(len(rows), 'file')}: all are what their names say")


def _faults(rows: list[dict[str, Any]], strangers: list[Path]) -> list[SegzooError]:
    """What a check of the store found: files that changed, paths that are no files of the store, files that may not be read."""
    from segzoo.cli.terminal.show import counted

    errors: list[SegzooError] = []
    if wrong := [row["sha256"][:12] for row in rows if row["right"] is False]:
        hint = f"segzoo store rm {' '.join(wrong)} removes {'it' if len(wrong) == 1 else 'them'}; then fetch anew"
        errors.append(IntegrityError(f"{counted(len(wrong), 'file')} of {len(rows)} changed on disk", hint))
    if strangers:
        more = f", and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        errors.append(IntegrityError(f"{strangers[0]}{more}: no file of the store", "find out who put it there, and move it away"))
    if hidden := sum(row["right"] is None for row in rows):
        errors.append(EnvironmentFault(f"{counted(hidden, 'file')} of {len(rows)} may not be read", "run it as the user who owns them"))
    return errors


@store.command("prune", short_help="Remove unfinished downloads.")
@click.option("--unused", is_flag=True, help="Remove also the files that this zoo does not name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def prune(choice: Choice, unused: bool, as_json: bool) -> None:
    """Remove the parts of broken downloads, and what killed runs left of data sets and receipts. What a process writes now stays."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, megabytes, show
    from segzoo.store.leftovers import remove_leftovers

    zoo = choice.open()
    gone = remove_leftovers(zoo.store)
    for row in _rows(zoo.store, zoo.manifest.artifacts) if unused else ():
        if not row["names"]:
            zoo.store.remove(row["sha256"])
            gone[zoo.store.blob(row["sha256"])] = row["size"]
    size = sum(gone.values())
    if as_json:
        show_json({"removed": [str(path) for path in gone], "bytes": size})
    else:
        show(f"removed {counted(len(gone), 'file')}, {megabytes(size)}")


@store.command("rm", short_help="Remove files from the store.")
@click.argument("names", nargs=-1, required=True, metavar="NAME|SHA256...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def rm(choice: Choice, names: tuple[str, ...], as_json: bool) -> None:
    """Remove files by a name in the zoo or by the first digits of a hash, eight at least. A hash that is pinned stays pinned."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import megabytes, show, tell

    zoo = choice.open()
    rows = _rows(zoo.store, zoo.manifest.artifacts)
    gone: list[dict[str, Any]] = []
    for name in names:
        found = [row for row in rows if name in row["names"] or (len(name) >= 8 and row["sha256"].startswith(name))]
        if not found:
            raise NotFoundError(f"nothing in the store goes by '{name}'", hint="segzoo store ls shows what is there")
        for row in found:
            zoo.store.remove(row["sha256"])
            gone.append(row)
            if not as_json:
                show(f"removed {row['sha256'][:12]}, {megabytes(row['size'])}: {', '.join(row['names']) or '(not in this zoo)'}")
    if not as_json and any(pin["sha256"] in {row["sha256"] for row in gone} for pin in zoo.store.pins().values()):
        tell(f"its hash stays pinned in {zoo.store.lock}")
    if as_json:
        show_json({"removed": [str(zoo.store.blob(row["sha256"])) for row in gone], "bytes": sum(row["size"] for row in gone)})


def _rows(store: Store, artifacts: dict[str, Artifact]) -> list[dict[str, Any]]:
    """The files in the store, each with the names that the zoo has for it."""
    names: dict[str, list[str]] = {}
    for name, expectation in zip(artifacts, store.expectations(artifacts.values()), strict=True):
        if expectation.sha256:
            names.setdefault(expectation.sha256, []).append(name)
    return [{"sha256": sha256, "size": size, "names": names.get(sha256, [])} for sha256, size in store.files()]
