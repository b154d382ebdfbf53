"""`segzoo manifest`: a zoo of one's own, begun, checked, pinned and added to."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice, network_options
from segzoo.cli.terminal.failure import show_errors
from segzoo.errors import NotFoundError, SegzooError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segzoo.manifest.document import Complaint
    from segzoo.manifest.merge import Part
    from segzoo.zoo.own.propose import Proposal
    from segzoo.zoo.own.write import Addition
    from segzoo.zoo.zoo import Zoo

USUAL = "zoo.yaml"


@click.group(short_help="Write, check and pin a zoo of your own.")
def manifest() -> None:
    """A zoo.yaml of your own: begin it, put checkpoints into it, check it, pin what has no full hash.

    \b
    segzoo manifest init
    segzoo manifest add work_dirs/ours.pth --to zoo.yaml
    segzoo manifest check
    segzoo --zoo zoo.yaml verify ours

    --zoo may be given several times, and SEGZOO_ZOO stands for it: with --zoo zoo.yaml --zoo shipped your zoo and
    the shipped one are one, and may refer to each other. Of two things of one name that of the earlier manifest
    counts. Pins are kept in segzoo.lock beside the first manifest of your own.
    """


@manifest.command(short_help="Begin a manifest.")
@click.argument("path", type=click.Path(path_type=Path), default=USUAL)
def init(path: Path) -> None:
    """Write a small manifest with comments that say how to go on, and beside it the schema that editors complete and check it by.

    PATH is a file, or a folder to put zoo.yaml into; ./zoo.yaml by default. What is there already is never overwritten.
    """
    from segzoo.cli.terminal.show import show, tell

    path = path / USUAL if path.is_dir() else path
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path}: exists already", hint=f"segzoo manifest add FILE_OR_URL --to {path} adds to it")
    made = _begin(path)
    show(f"{path}: a manifest without entries; zoo.schema.json beside it {'is for editors' if made else 'was there, and stays'}")
    tell(f"next: segzoo manifest add FILE_OR_URL --to {path}", style="dim")


@manifest.command(short_help="Say all that is wrong with manifests, and what to look at.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(choice: Choice, paths: tuple[str, ...], as_json: bool) -> None:
    """Say all that is wrong with manifests, with line and field, and then what their author should look at.

    Several are checked as they are used together, the earlier ones first; 'shipped' and 'mini' may be among them.
    By default those of --zoo, else ./zoo.yaml. Nothing is fetched. Exit 2 when anything is wrong; what is to be
    looked at is no fault: files that are missing or have another size, hashes that nobody knows, data sets that are
    not as described or cannot be found, figures that look as if for another scale.
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
    code = UsageError.exit_code if errors else 0
    if as_json:
        found = {"errors": [_facts(one) for one in errors], "warnings": [_facts(one) for one in warnings]}
        show_json({"manifests": [str(part.path) for part in parts], **found}, code)
    else:
        for kind, complaints, style in (("error", errors, "red"), ("warning", warnings, "yellow")):
            for one in complaints:
                show(f"{one.path}:{one.line}: {kind}: {one.field}: {one.message}", style=style)
        show(f"{', '.join(part.given for part in parts)}: {counted(len(errors), 'error')}, {counted(len(warnings), 'warning')}")
        for hint in dict.fromkeys(one.hint for one in (*errors, *warnings) if one.hint):
            tell(f"hint: {hint}")
    raise SystemExit(code)


@manifest.command(short_help="Pin what has no full hash.")
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def lock(choice: Choice, path: str | None, as_json: bool) -> None:
    """Fetch each file for which a manifest of yours has no full sha256, and pin its hash in segzoo.lock beside the manifest.

    From then on nothing else is accepted, by whoever has the lock: commit it. The manifest itself is yours and stays
    as it is. By default the manifests of --zoo, else ./zoo.yaml.
    """
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.progress import many_progress
    from segzoo.cli.terminal.show import show
    from segzoo.store.fetch import fetch_many
    from segzoo.store.fetched import Fetched
    from segzoo.zoo.own.review import placed
    from segzoo.zoo.zoo import open_zoo

    used = open_zoo(_named(choice, (path,) if path else ()), choice.offline, choice.mirrors)
    mine = _own(used.parts)
    artifacts = {one.name: one for where, one in placed(used.manifest) if not one.sha256 and used.origins[str(where[1])] in mine}
    before = used.store.pins()
    wanted = {name: one for name, one in artifacts.items() if used.store.expectation(one).sha256 is None}
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
        show_json({"lock": str(used.store.lock), "files": files}, code)
    elif not rows:
        show("nothing to pin: every file has its full sha256 in the manifest")
    else:
        for row in rows:
            show(f"{row['status']:<11}  {(row['sha256'] or '-')[:16]:<16}  {row['file']}", style="red" if row["file"] in errors else "")
        show(f"in {used.store.lock}: {sum(row['sha256'] is not None for row in rows)} of {len(rows)}")
    show_errors(errors.values())
    raise SystemExit(code)


@manifest.command(short_help="Propose the entry for a file or an address, or put it in.")
@click.argument("sources", nargs=-1, required=True, metavar="FILE|URL...")
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), help="Put the entry into this manifest, begun if need be. Without it, print it."
)
@click.option("--name", help="What to call it.  [default: made of the file's name]")
@click.option("--title", help="Its title.  [default: its kind and sizes]")
@click.option("--like", metavar="NAME", help="Take what no tensor shows from this entry of the zoo.")
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads of the backbone, where no tensor shows them.")
@click.option("--dataset", metavar="NAME", help="The data set of a model.  [default: that of the model it is like]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def add(choice: Choice, /, sources: tuple[str, ...], to: Path | None, as_json: bool, **wished: Any) -> None:
    """Hash a checkpoint, measure it, and print the entry that a manifest should have of it; with --to put it in.

    What no tensor shows (heads, eps, protocol, data set) is taken from an entry of the zoo with the same geometry,
    and marked as assumed: read those lines. No reported figure is assumed. A file stays where it is, an address is
    fetched into the store.

    With --to the entry goes to the end of its section; all else in the file stays as it is, and what comes of it is
    loaded before it takes the file's place. The data set is copied from the zoo that has it, unless the
    manifest is used together with that zoo: segzoo --zoo zoo.yaml --zoo shipped manifest add ... --to zoo.yaml

    \b
    Examples:
      segzoo manifest add work_dirs/iter_160000.pth
      segzoo manifest add https://host/vit.npz --to zoo.yaml --name our-vit
      segzoo manifest add run/checkpoint.pth --like seg-b-mask --dataset ours
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import show, tell
    from segzoo.zoo.own.propose import Wishes, name_of, propose
    from segzoo.zoo.own.take import take
    from segzoo.zoo.own.write import put, refuse_taken

    if len(sources) > 1 and (wished["name"] or wished["title"]):
        raise UsageError("--name and --title go with one file")
    proposals, files = [], []
    with _begun(to) as new:
        used, others = _around(choice, to)
        folder = to.parent if to else Path()
        if to:  # before anything is fetched
            refuse_taken(to, used.parts[0].manifest, (wished["name"] or name_of(source) for source in sources))
        for source in sources:
            with byte_progress(source.rsplit("/", 1)[-1]) as said:
                taken = take(source, folder, used, said)
            files.append(taken)
            proposals.append(propose(taken, used.manifest, Wishes(**wished)))
            for remark in proposals[-1].remarks:
                tell(f"{source}: {remark}", style="yellow")
        additions = _additions(proposals, used, to, others)
        if to:
            put(to, additions, others)
    for taken in files if to else ():
        taken.forget()
    if as_json:
        entries = {one.name: one for one in proposals}
        show_json({"manifest": to and str(to), "added": [_added(addition, entries.get(addition.name)) for addition in additions]})
    elif to:
        if new:
            show(f"{to}: begun")
        for addition in additions:
            show(f"{to}: {addition.section}.{addition.name}" + ("" if addition.section != "datasets" else ", copied"))
        for one in proposals:
            for field, note in one.notes.items():
                tell(f"{one.name}: {field}: {note}", style="yellow") if field else None
        options = choice.option if others else f"--zoo {shlex.quote(str(to))} {choice.option}"  # where a copied data set lies
        tell(f"next: segzoo {options}verify {' '.join(one.name for one in proposals)}", style="dim")
    else:
        _print(additions)
        for name in sorted({one.plain["protocol"]["dataset"] for one in proposals if one.kind == "models"}):
            tell(f"data set {name} is of the zoo '{used.origins[name].given}': --to copies it too, or use both, each with a --zoo")


def _begin(path: Path) -> bool:
    """Write a manifest without entries, and the schema beside it, unless one is there: then False."""
    from segzoo.atomic import replacing
    from segzoo.manifest.document import packaged
    from segzoo.zoo.own.write import copy_schema

    with replacing(path) as part:
        part.write_text(packaged("zoo.template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return copy_schema(path.parent, packaged("zoo.schema.json"))


@contextmanager
def _begun(to: Path | None) -> Iterator[bool]:
    """A manifest to put something into, begun if there is none, and gone again if the block fails; whether it is new."""
    new = to is not None and not to.exists() and to.parent.is_dir()
    if to is not None and new:
        made = _begin(to)
        try:
            yield True
        except BaseException:
            to.unlink()
            if made:
                (to.parent / "zoo.schema.json").unlink()
            raise
    else:
        yield False


def _named(choice: Choice, paths: tuple[str, ...]) -> tuple[str, ...]:
    """The manifests that a command is about: those named, else those of --zoo, else the working folder's."""
    if not (paths or choice.zoo or Path(USUAL).exists()):
        raise NotFoundError(f"{USUAL}: no such manifest in this folder", hint="name one, or segzoo manifest init begins one")
    return paths or choice.zoo or (USUAL,)


def _own(parts: Sequence[Part]) -> list[Part]:
    """The manifests of one's own; all, where only those that come with segzoo were named."""
    return [part for part in parts if part.own] or list(parts)


def _facts(complaint: Complaint) -> dict[str, Any]:
    facts = {"path": str(complaint.path), "line": complaint.line, "field": complaint.field}
    return facts | {"message": complaint.message, "hint": complaint.hint}


def _added(addition: Addition, proposal: Proposal | None) -> dict[str, Any]:
    """An entry for programs; a data set that was copied has no proposal behind it."""
    facts = {"section": addition.section, "name": addition.name, "entry": addition.plain}
    return facts | {"assumed": {field: note for field, note in proposal.notes.items() if field} if proposal else {}}


def _around(choice: Choice, to: Path | None) -> tuple[Zoo, list[Part]]:
    """All that a proposal may draw on: the manifest it is for, those of --zoo, the shipped one; and those that it is used with."""
    from segzoo.manifest.merge import parts_of
    from segzoo.zoo.zoo import open_zoo

    target = to and to.resolve()
    chosen = [part for part in parts_of(choice.zoo) if part.path.resolve() != target]
    names = [*([str(to)] if to else []), *(part.given for part in chosen)]
    names += [] if "shipped" in names else ["shipped"]
    together = any(Path(zoo).resolve() == target for zoo in choice.zoo)
    return open_zoo(names, choice.offline, choice.mirrors), chosen if together else []


def _additions(proposals: list[Proposal], used: Zoo, to: Path | None, others: list[Part]) -> list[Addition]:
    """The entries, and before them the data sets that the manifest would lack."""
    from segzoo.zoo.own.write import Addition, copied

    entries = [Addition(one.kind, one.name, one.plain, one.notes) for one in proposals]
    if not to:
        return entries
    there = {name for part in (used.parts[0], *others) for name in part.manifest.datasets}
    lacking = dict.fromkeys(one.plain["protocol"]["dataset"] for one in proposals if one.kind == "models")
    return [*(copied(name, used.manifest.datasets[name], used.origins[name].given) for name in lacking if name not in there), *entries]


def _print(additions: list[Addition]) -> None:
    """The entries as they would stand in a manifest."""
    from segzoo.cli.terminal.show import show
    from segzoo.manifest.spelling import spelt

    for section in dict.fromkeys(one.section for one in additions):
        show(f"{section}:")
        for one in additions:
            if one.section == section:
                show("\n".join([f"  {one.name}:", *spelt(one.plain, 4, one.notes)]))
