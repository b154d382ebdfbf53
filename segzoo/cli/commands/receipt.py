"""`segzoo receipt`: receipts checked again, or printed for tools that sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, SegzooError

if TYPE_CHECKING:
    from segzoo.zoo.zoo import Zoo


@click.group(short_help="Check receipts again, offline; print one for signing.")
def receipt() -> None:
    """Receipts of `segzoo verify`: JSON files under $SEGZOO_RECEIPTS, else $SEGZOO_HOME/receipts; segzoo/receipt.schema.json says what is in them."""


@receipt.command(short_help="Check receipts against themselves and the files that are here.")
@click.argument("sources", nargs=-1, type=ZooName("backbones", "models", or_file=True), metavar="[NAME|FILE]...")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, or the folder above it, to check its digest too.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def check(choice: Choice, sources: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Check receipts again, offline: all of this zoo's, or those named.

    \b
    receipt  it is whole, and says correctly whether anything failed
    bytes    the weights in the store have the hash that it names
    names    and the layout and geometry
    mIoU     metrics, confusion matrix and verdict follow from its counts
    data     the data set in --data is the one that was measured

    Nothing is evaluated again; `segzoo verify NAME --smoke N` does that for some images. Exit 4 if anything is
    broken, else 8 if the data set in --data cannot be read.
    """
    from dataclasses import asdict

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show
    from segzoo.datasets.listing import folder_given
    from segzoo.evidence.recheck import Rechecked, recheck

    if data is not None:
        folder_given(data)
    zoo = choice.open()
    roots = {name: dataset.root for name, dataset in zoo.manifest.datasets.items()}
    paths = [_path(zoo, source) for source in sources] or sorted(filter(Path.exists, map(zoo.receipt_of, zoo.manifest.entries)))
    if not paths:
        raise none_yet(zoo)
    found: dict[Path, list[Rechecked]] = {}
    for path in paths:
        try:
            found[path] = list(recheck(path, zoo.store, data, roots))
        except IntegrityError as error:  # go on: the other receipts may hold
            found[path] = [Rechecked("receipt", "broken", f"{error.message}; {error.hint}")]
    all_of_them = [(path, one) for path, findings in found.items() for one in findings]
    errors: list[SegzooError] = [IntegrityError(f"{path}: {one.what}: {one.detail}") for path, one in all_of_them if one.status == "broken"]
    errors += [EnvironmentFault(f"{path}: data: {one.detail}") for path, one in all_of_them if (one.what, one.status) == ("data", "not here")]
    if as_json:
        show_json([{"receipt": str(path), **asdict(one)} for path, one in all_of_them], *errors)
    else:
        styles = {"holds": "green", "broken": "bold red", "not here": "yellow"}
        for path, one in all_of_them:
            show(f"{path.stem}: {one.what}: {one.status}: {one.detail}", style=styles[one.status])
    raise SystemExit(min((error.exit_code for error in errors), default=0))


@receipt.command(short_help="Print a receipt, or the statement to sign.")
@click.argument("name", metavar="NAME", type=ZooName("backbones", "models"))
@click.option("--in-toto", "in_toto", is_flag=True, help="As an in-toto statement about the weights, which existing tools can sign.")
@click.option("--json", "as_json", is_flag=True, help="Print it within segzoo's own JSON.")
@click.pass_obj
def show(choice: Choice, name: str, in_toto: bool, as_json: bool) -> None:
    """Print the receipt of an entry: the file itself, or an in-toto statement (v1) of it, ready to be signed.

    \b
    Example:
      segzoo receipt show vit-t-mask --in-toto > vit-t-mask.statement.json
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import put
    from segzoo.evidence.in_toto import statement
    from segzoo.evidence.reading import read_receipt
    from segzoo.evidence.receipt import dumps
    from segzoo.evidence.recheck import checked

    zoo = choice.open()
    path = _path(zoo, name)
    shown = statement(checked(path, name)) if in_toto else read_receipt(path)
    if as_json:
        show_json(shown)
    else:
        put(*dumps(shown).splitlines())


def _path(zoo: Zoo, source: str) -> Path:
    """The receipt of a name in the zoo, or a file."""
    from segzoo.zoo.names import resolve

    if Path(source).suffix == ".json" or Path(source).is_file():
        return Path(source)
    (name,) = resolve(zoo, [source], False, zoo.manifest.entries)
    return zoo.receipt_of(name)


def none_yet(zoo: Zoo) -> NotFoundError:
    """The error for a zoo without receipts; its hint names the zoos that have some."""
    from segzoo.manifest.merge import PACKAGED
    from segzoo.store.store import receipts

    everywhere = receipts()
    others = sorted(folder.name for folder in everywhere.glob("*") if any(folder.glob("*.json")))
    known = [f"--zoo {other}" for other in others if other in PACKAGED and other != zoo.label]
    hint = "segzoo verify NAME writes one, and segzoo report FILE --data DIR shows that of a file of your own"
    return NotFoundError(f"{everywhere}: no receipts of this zoo", hint=f"{hint}; there are some of {', '.join(known)}" if known else hint)
