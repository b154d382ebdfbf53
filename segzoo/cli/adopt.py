"""`segzoo adopt`: files that one still has, put into the store."""

from pathlib import Path
from typing import Any

import click

from segzoo.cli.failure import show_error
from segzoo.cli.manifest import Choice
from segzoo.errors import SegzooError


@click.command(short_help="Put files that you still have into the store.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print what was adopted as JSON.")
@click.pass_obj
def adopt(choice: Choice, files: tuple[Path, ...], as_json: bool) -> None:
    """Put files that you still have into the store, recognised by hash, under whatever name you keep them.

    Where only the eight hex digits of the published file name are known, they must fit, and the full
    hash is pinned in segzoo.lock.
    """
    from segzoo.adopt import adopt as adopt_file
    from segzoo.cli.answer import problem, show_json
    from segzoo.cli.output import megabytes, show

    manifest = choice.load()
    results: list[dict[str, Any]] = []
    codes = []
    for file in files:
        try:
            found = adopt_file(file, manifest.zoo.artifacts.values(), manifest.store)
        except SegzooError as error:
            codes.append(error.exit_code)
            results.append({"file": str(file), "error": problem(error)})
            show_error(error)
            continue
        results.append({"file": str(file), "name": found.artifact.name, "sha256": found.sha256, "size": found.size, "path": str(found.path)})
        if not as_json:
            show(f"{file}: {found.artifact.name}, {megabytes(found.size)}, {found.evidence}")
    code = min(codes, default=0)
    if as_json:
        show_json(results, code)
    raise SystemExit(code)
