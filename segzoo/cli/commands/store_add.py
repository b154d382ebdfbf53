"""`segzoo store add`: files that the user still has, put into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.errors import SegzooError, UsageError

if TYPE_CHECKING:
    from segzoo.store.adopt import Adopted
    from segzoo.zoo.zoo import Zoo


@click.command(short_help="Put files that you still have into the store.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--as", "name", metavar="NAME", type=ZooName("backbones", "models", "datasets"), help="Take the one FILE for this entry of the zoo.")
@click.option("--json", "as_json", is_flag=True, help="Print what was adopted as JSON.")
@click.pass_obj
def add(choice: Choice, files: tuple[Path, ...], name: str | None, as_json: bool) -> None:
    """Put files that you still have into the store. They are recognised by hash, whatever their names.

    If only the eight hex digits of the published file name are known, the hash must begin with them, and
    the full hash is pinned in segzoo.lock.

    A file is not recognised if the zoo knows no hash for it. Then --as says what the file is: a name in the
    zoo, or a published file name. The file must open with the layout and geometry of the manifest, and its
    hash is pinned.

    \b
    Examples:
      segzoo store add old-disk/*.pth
      segzoo store add --as seg-b-mask checkpoint.pth
    """
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.failure import show_error, show_hint, show_message
    from segzoo.cli.terminal.show import megabytes, show
    from segzoo.store.adopt import Unknown

    if name and len(files) != 1:
        raise UsageError("--as goes with one FILE")
    zoo = choice.open()
    results: list[dict[str, Any]] = []
    errors: list[SegzooError] = []
    for file in files:
        try:
            found = _adopted(zoo, file, name)
        except SegzooError as error:
            errors.append(error)
            results.append({"file": str(file), "error": problem(error)})
            (show_message if isinstance(error, Unknown) else show_error)(error)
            continue
        results.append({"file": str(file), "name": found.artifact.name, "sha256": found.sha256, "size": found.size, "path": str(found.path)})
        if not as_json:
            show(f"{file}: {found.artifact.name}, {megabytes(found.size)}, {found.evidence}")
    unknown = [error for error in errors if isinstance(error, Unknown)]
    if unknown:
        show_hint(unknown[0])
    code = min((error.exit_code for error in errors), default=0)
    if as_json:
        show_json(results, *errors)
    elif len(files) > 1:
        counts = {"of no file in this zoo": len(unknown), "failed": len(errors) - len(unknown)}
        show(", ".join([f"{len(files) - len(errors)} adopted", *(f"{count} {what}" for what, count in counts.items() if count)]))
    raise SystemExit(code)


def _adopted(zoo: Zoo, file: Path, name: str | None) -> Adopted:
    from segzoo.store.adopt import adopt, adopt_as
    from segzoo.zoo.names import resolve_one

    artifacts = zoo.manifest.artifacts
    if name is None:
        return adopt(file, artifacts.values(), zoo.store)
    among = artifacts | {artifact.name: artifact for artifact in artifacts.values()}
    return adopt_as(file, resolve_one(zoo, name, among), zoo.store, zoo.look)
