"""`segzoo manifest`: a zoo of the user's own, begun, checked and pinned; `manifest_add` adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.commands.manifest_add import add, begin
from segzoo.cli.options import Choice, network_options
from segzoo.errors import NotFoundError, SegzooError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segzoo.manifest.document import Complaint
    from segzoo.manifest.merge import ZooPart

USUAL = "zoo.yaml"


@click.group(short_help="Write, check and pin a zoo of your own.")
def manifest() -> None:
    """A zoo.yaml of your own: begin it, add checkpoints to it, check it, pin the files that have no full hash.

    \b
    segzoo manifest init
    segzoo manifest add work_dirs/ours.pth --to zoo.yaml
    segzoo manifest check
    segzoo --zoo zoo.yaml verify ours

    --zoo may be given several times, and SEGZOO_ZOO stands for it: with --zoo zoo.yaml --zoo shipped, your zoo and
    the shipped zoo are used as one, and may refer to each other. If two manifests use the same name, the earlier
    manifest wins. Hashes are pinned in segzoo.lock beside your first manifest.
    """


@manifest.command(short_help="Begin a manifest.")
@click.argument("path", type=click.Path(path_type=Path), default=USUAL)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(path: Path, as_json: bool) -> None:
    """Write a small manifest whose comments say how to go on, and beside it a schema with which editors complete and check it.

    PATH is a file, or a folder to put zoo.yaml into; ./zoo.yaml by default. No other file is ever overwritten.
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show, tell
    from segzoo.manifest.document import packaged

    path = path / USUAL if path.is_dir() else path
    already = path.is_file() and path.read_bytes() == packaged("zoo.template.yaml").read_bytes()
    if (path.exists() or path.is_symlink()) and not already:
        raise UsageError(f"{path}: exists already", hint=f"segzoo manifest add FILE_OR_URL --to {path} adds to it")
    made = begin(path)
    if as_json:
        show_json({"manifest": str(path), "schema": str(path.with_name("zoo.schema.json")), "schema_written": made, "already": already})
        return
    beside = "is for editors" if made else "was there, and stays"
    show(f"{path}: {'there already, ' if already else ''}a manifest without entries; zoo.schema.json beside it {beside}")
    tell(f"next: segzoo manifest add FILE_OR_URL --to {path}", style="dim")


@manifest.command(short_help="Say all that is wrong with manifests, and what to look at.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(choice: Choice, paths: tuple[str, ...], as_json: bool) -> None:
    """Say all that is wrong with manifests, with line and field, and then what their author should look at.

    Several manifests are checked as one zoo, as --zoo uses them, the earlier ones first; 'shipped' and 'mini' may be
    among them. The default is the manifests of --zoo, else ./zoo.yaml. Nothing is fetched. Exit 2 if anything is
    wrong. What the author should look at is only a warning: files that are missing or have another size, files
    without a hash, data sets that are not as described or cannot be found, figures that look as if for another scale.
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, show, tell
    from segzoo.manifest.merge import misfits, parts_of, united
    from segzoo.zoo.own.review import review
    from segzoo.zoo.zoo import store_of

    parts = parts_of(_named(choice, paths))
    errors = [complaint for part in parts for complaint in part.source.complaints]
    warnings: list[Complaint] = []
    if not errors:
        whole, store = united(parts), store_of(parts)
        errors = list(misfits(parts, whole))
        warnings = [remark for part in _own(parts) for remark in review(part, whole, store)]
    if as_json:
        found = {"errors": [_facts(one) for one in errors], "warnings": [_facts(one) for one in warnings]}
        show_json({"manifests": [str(part.path) for part in parts], **found}, *(one.error for one in errors))
    else:
        for kind, complaints, style in (("error", errors, "red"), ("warning", warnings, "yellow")):
            for one in complaints:
                show(f"{one.path}:{one.line}: {kind}: {one.field}: {one.message}", style=style)
        show(f"{', '.join(part.given for part in parts)}: {counted(len(errors), 'error')}, {counted(len(warnings), 'warning')}")
        for hint in dict.fromkeys(one.hint for one in (*errors, *warnings) if one.hint):
            tell(f"hint: {hint}")
    raise SystemExit(UsageError.exit_code if errors else 0)


@manifest.command(short_help="Pin what has no full hash.")
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def lock(choice: Choice, path: str | None, as_json: bool) -> None:
    """Fetch each file for which your manifest has no full sha256, and pin its hash in segzoo.lock beside the manifest.

    From then on no other file is accepted, by anyone who has the lock file: commit it. The manifest itself is not
    changed. The default is the manifests of --zoo, else ./zoo.yaml.
    """
    from segzoo.atomic import sweep_once
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.failure import show_errors
    from segzoo.cli.terminal.progress import many_progress
    from segzoo.cli.terminal.show import show
    from segzoo.store.fetch import fetch_many
    from segzoo.store.fetched import Fetched
    from segzoo.zoo.own.review import placed
    from segzoo.zoo.zoo import open_zoo

    used = open_zoo(_named(choice, (path,) if path else ()), choice.offline, choice.mirrors, choice.deadline)
    sweep_once(used.store.lock.parent)
    mine = _own(used.parts)
    artifacts = {one.name: one for where, one in placed(used.manifest) if not one.sha256 and used.origins[str(where[1])] in mine}
    before = used.store.pins()
    known = zip(artifacts.items(), used.store.expectations(artifacts.values()), strict=True)
    wanted = {name: one for (name, one), expectation in known if expectation.sha256 is None}
    errors: dict[str, SegzooError] = {}
    with many_progress() as said:
        for name, outcome in fetch_many(wanted, used.store, used.base, said, policy=used.policy()):
            if not isinstance(outcome, Fetched):
                errors[name] = outcome
    pins = used.store.pins()
    states = {name: "not fetched" if name in errors else "was pinned" if name in before else "pinned" for name in artifacts}
    rows: list[dict[str, Any]] = [{"file": name, "status": state, "sha256": pins.get(name, {}).get("sha256")} for name, state in states.items()]
    code = min((error.exit_code for error in errors.values()), default=0)
    if as_json:
        files = [row | ({"error": problem(errors[row["file"]])} if row["file"] in errors else {}) for row in rows]
        show_json({"lock": str(used.store.lock), "files": files}, *errors.values())
    elif not rows:
        show("nothing to pin: every file has its full sha256 in the manifest")
    else:
        for row in rows:
            show(f"{row['status']:<11}  {(row['sha256'] or '-')[:16]:<16}  {row['file']}", style="red" if row["file"] in errors else "")
        show(f"in {used.store.lock}: {sum(row['sha256'] is not None for row in rows)} of {len(rows)}")
    show_errors(errors.values())
    raise SystemExit(code)


def _named(choice: Choice, paths: tuple[str, ...]) -> tuple[str, ...]:
    """The manifests to work on: those that are named, else those of --zoo, else the working folder's."""
    if not (paths or choice.zoo or Path(USUAL).exists()):
        raise NotFoundError(f"{USUAL}: no such manifest in this folder", hint="name one, or segzoo manifest init begins one")
    return paths or choice.zoo or (USUAL,)


def _own(parts: Sequence[ZooPart]) -> list[ZooPart]:
    """The user's own manifests; all, if only manifests that come with segzoo were named."""
    return [part for part in parts if part.own] or list(parts)


def _facts(complaint: Complaint) -> dict[str, Any]:
    facts = {"path": str(complaint.path), "line": complaint.line, "field": complaint.field}
    return facts | {"message": complaint.message, "hint": complaint.hint}


manifest.add_command(add)
