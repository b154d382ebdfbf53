"""`segzoo receipt`: what was proved, checked again, or handed to tools that sign."""

from pathlib import Path

import click

from segzoo.cli.completion import Name
from segzoo.cli.manifest import Choice
from segzoo.errors import NotFoundError


@click.group(short_help="Check receipts again, offline; print one for signing.")
def receipt() -> None:
    """Receipts of `segzoo verify`: JSON files under $SEGZOO_HOME/receipts; segzoo/receipt.schema.json says what is in them."""


@receipt.command(short_help="Check receipts against themselves and the files that are here.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, to check its digest too.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def check(choice: Choice, files: tuple[Path, ...], data: Path | None, as_json: bool) -> None:
    """Check receipts again, offline: all of this zoo's, or the files named.

    \b
    receipt  it is whole, and says itself whether anything failed
    bytes    the weights in the store have the hash that it names
    names    and the layout and geometry
    mIoU     metrics, confusion matrix and verdict follow from its counts
    data     the data set in --data is the one that was measured on

    Nothing is evaluated anew; `segzoo verify NAME --smoke N` does that for some images. Exit 4 when anything is
    broken.
    """
    from dataclasses import asdict

    from segzoo.cli.answer import show_json
    from segzoo.cli.output import show
    from segzoo.recheck import recheck

    manifest = choice.load()
    folder = manifest.store.home / "receipts" / manifest.label
    paths = files or tuple(sorted(folder.glob("*.json")))
    if not paths:
        raise NotFoundError(f"{folder}: no receipts", hint="segzoo verify NAME writes one")
    found = {path: list(recheck(path, manifest.store, data)) for path in paths}
    code = 4 if any(one.status == "broken" for findings in found.values() for one in findings) else 0
    if as_json:
        show_json([{"receipt": str(path), **asdict(one)} for path, findings in found.items() for one in findings], code)
    else:
        styles = {"holds": "green", "broken": "bold red", "not here": "yellow"}
        for path, findings in found.items():
            for one in findings:
                show(f"{path.stem}: {one.what}: {one.status}: {one.detail}", style=styles[one.status])
    raise SystemExit(code)


@receipt.command(short_help="Print a receipt, or the statement to sign.")
@click.argument("name", metavar="NAME", type=Name("backbones", "models"))
@click.option("--in-toto", "in_toto", is_flag=True, help="As an in-toto statement about the weights, which existing tools can sign.")
@click.pass_obj
def show(choice: Choice, name: str, in_toto: bool) -> None:
    """Print the receipt of an entry: the file itself, or what it says as an in-toto statement (v1), ready to be signed.

    \b
    Example:
      segzoo receipt show vit-t-mask --in-toto > vit-t-mask.statement.json
    """
    from segzoo.receipt import dumps, read
    from segzoo.statement import statement

    manifest = choice.load()
    manifest.chosen([name], False, manifest.zoo.entries)
    path = manifest.store.home / "receipts" / manifest.label / f"{name}.json"
    record = read(path)
    if record is None:
        raise NotFoundError(f"{path}: no receipt", hint=f"segzoo verify {name} writes one")
    click.echo(dumps(statement(record) if in_toto else record), nl=False)
