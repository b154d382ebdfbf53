"""`segzoo cache`: the files in the store, listed, hashed again, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice
from segzoo.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from segzoo.manifest.artifact import Artifact
    from segzoo.store.store import Store


@click.group(short_help="See, check and empty the store.")
def cache() -> None:
    """See, check and empty the store: $SEGZOO_HOME, else $XDG_CACHE_HOME/segzoo, else ~/.cache/segzoo."""


@cache.command("dir", short_help="Print where the store is.")
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


@cache.command("ls", short_help="List what is in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ls(choice: Choice, as_json: bool) -> None:
    """List the files in the store with the names that this zoo has for them, and the parts of broken downloads."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, megabytes, show

    zoo = choice.open()
    rows = _rows(zoo.store, zoo.manifest.artifacts)
    if as_json:
        show_json(rows)
        return
    for row in rows:
        show(f"{row['sha256'][:12]}  {megabytes(row['size']):>9}  {', '.join(row['names']) or '(not in this zoo)'}")
    parts = list(zoo.store.partials.glob("*.part"))
    total = sum(row["size"] for row in rows)
    show(f"{counted(len(rows), 'file')}, {megabytes(total)}, in {zoo.store.home}")
    if parts:
        size = megabytes(sum(path.stat().st_size for path in parts))
        show(f"{counted(len(parts), 'unfinished download')}, {size}: fetch goes on from there, cache prune removes them")


@cache.command("verify", short_help="Hash every file in the store again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(choice: Choice, as_json: bool) -> None:
    """Hash every file in the store again. A file that has changed on disk is named, and stays until cache rm removes it; exit 4 then."""
    import hashlib

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.failure import show_error
    from segzoo.cli.terminal.progress import many_progress
    from segzoo.cli.terminal.show import counted, show

    zoo = choice.open()
    rows = _rows(zoo.store, zoo.manifest.artifacts)
    whole, done = sum(row["size"] for row in rows), 0
    with many_progress() as said:
        for row in rows:
            with zoo.store.blob(row["sha256"]).open("rb") as file:
                row["right"] = hashlib.file_digest(file, "sha256").hexdigest() == row["sha256"]
            said("hashing", done := done + row["size"], whole)
    wrong = [row for row in rows if not row["right"]]
    hint = f"segzoo cache rm {' '.join(row['sha256'][:12] for row in wrong)} removes {'it' if len(wrong) == 1 else 'them'}; then fetch anew"
    errors = [IntegrityError(f"{counted(len(wrong), 'file')} of {len(rows)} changed on disk", hint)] if wrong else []
    if as_json:
        show_json(rows, *errors)
    for row in wrong:
        if not as_json:
            show(f"changed on disk: {row['sha256']}  {', '.join(row['names'])}", style="bold red")
    for error in errors:
        show_error(error)
        raise SystemExit(error.exit_code)
    if not as_json:
        show(f"{counted(len(rows), 'file')}: all are what their names say")


@cache.command("prune", short_help="Remove unfinished downloads.")
@click.option("--unused", is_flag=True, help="Remove also the files that this zoo does not name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def prune(choice: Choice, unused: bool, as_json: bool) -> None:
    """Remove the parts of broken downloads that no process is downloading now."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, megabytes, show
    from segzoo.store.partial import in_use

    zoo = choice.open()
    store = zoo.store
    gone = [path for path in store.partials.glob("*.part") if not in_use(path)]
    if unused:
        gone += [store.blob(row["sha256"]) for row in _rows(store, zoo.manifest.artifacts) if not row["names"]]
    size = sum(path.stat().st_size for path in gone)
    for path in gone:
        path.unlink(missing_ok=True)
    if as_json:
        show_json({"removed": [str(path) for path in gone], "bytes": size})
    else:
        show(f"removed {counted(len(gone), 'file')}, {megabytes(size)}")


@cache.command("rm", short_help="Remove files from the store.")
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
            raise NotFoundError(f"nothing in the store goes by '{name}'", hint="segzoo cache ls shows what is there")
        for row in found:
            zoo.store.blob(row["sha256"]).unlink(missing_ok=True)
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
    blobs = sorted(path for path in store.blobs.glob("*") if path.is_file())
    return [{"sha256": path.name, "size": path.stat().st_size, "names": names.get(path.name, [])} for path in blobs]
