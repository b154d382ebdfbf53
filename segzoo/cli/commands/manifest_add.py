"""`segzoo manifest add`: the entry for a file or an address, proposed or put in."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.options import Choice, config_option, network_options
from segzoo.errors import UsageError
from segzoo.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segzoo.manifest.entries import Entry
    from segzoo.manifest.merge import ZooPart
    from segzoo.zoo.own.entry import Wishes
    from segzoo.zoo.own.propose import Proposal
    from segzoo.zoo.own.take import Taken
    from segzoo.zoo.own.write import Addition
    from segzoo.zoo.zoo import Zoo


@click.command(short_help="Propose the entry for a file or an address, or put it in.")
@click.argument("sources", nargs=-1, required=True, metavar="FILE|FOLDER|URL...")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Put the entry into this manifest, which is begun if it does not exist. Without --to, print the entry.",
)
@click.option("--name", help="Name of the entry.  [default: made of the file's name]")
@click.option("--title", help="Title of the entry.  [default: its kind and sizes]")
@click.option("--like", metavar="NAME", help="The entry of the zoo from which to take what no tensor shows.")
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads of the backbone, if no tensor shows them.")
@click.option("--dataset", metavar="NAME", help="The data set of a model.  [default: the data set of the --like model]")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_obj
def add(choice: Choice, /, sources: tuple[str, ...], to: Path | None, as_json: bool, **wished: Any) -> None:
    """Hash a checkpoint, measure it, and print the manifest entry for it, or put the entry into a manifest with --to.

    What no tensor shows (heads, eps, protocol, data set) is taken from an entry of the zoo with the same geometry,
    and marked as assumed: read those lines. No reported figure is assumed. A file stays where it is; an address is
    fetched into the store. A folder stands for the weights in it, and an index of shards for all of them.

    With --to the entry goes to the end of its section, and nothing else in the file changes. The new manifest is
    loaded before it replaces the old one. An entry that is there already, as it would be added, stays. The data set
    is copied from the zoo that has it, unless the manifest is used together with that zoo:
    segzoo --zoo zoo.yaml --zoo shipped manifest add ... --to zoo.yaml

    \b
    Examples:
      segzoo manifest add work_dirs/iter_160000.pth
      segzoo manifest add https://host/vit.npz --to zoo.yaml --name our-vit
      segzoo manifest add run/checkpoint.pth --like seg-b-mask --dataset ours
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import show
    from segzoo.zoo.own.entry import Wishes
    from segzoo.zoo.own.propose import name_of
    from segzoo.zoo.own.take import called
    from segzoo.zoo.own.there import entries_there, refuse_other, without
    from segzoo.zoo.own.write import put

    if len(sources) > 1 and (wished["name"] or wished["title"]):
        raise UsageError("--name and --title go with one file")
    with _begun(to) as new:
        used, others = _around(choice, to)
        named = {source: wished["name"] or name_of(called(source)) for source in sources}
        before = entries_there(to, used.parts[0].manifest, named) if to else {}
        folder, used = to.parent if to else Path(), without(used, before)
        wishes = Wishes(**wished)
        taken, proposals = zip(*(_proposed(source, folder, used, wishes, before.get(named[source])) for source in sources), strict=True)
        fresh = [one for one in proposals if one.name not in before]
        additions = _additions(fresh, used, to, others)
        if to:
            refuse_other(to, proposals, before)
            put(to, additions, others)
    for one in taken if to else ():
        one.forget()
    already = sorted(before)
    if as_json:
        entries = {proposal.name: proposal for proposal in fresh}
        facts = [_facts(addition, entries.get(addition.name)) for addition in additions]
        show_json({"manifest": to and str(to), "added": facts, "already": already})
    elif to:
        for name in already:
            show(f"{to}: {name} is there already, as it would be added; it stays as it is")
        _show_added(to, new, additions, proposals, choice.option if others else f"--zoo {quoted(str(to))} {choice.option}")
    else:
        _show_proposed(additions, proposals, used)


def begin(path: Path) -> bool:
    """Write a manifest without entries, and before it the schema beside it; False if a schema was there, which stays."""
    from segzoo.atomic import replacing
    from segzoo.manifest.document import packaged
    from segzoo.zoo.own.write import copy_schema

    made = copy_schema(path.parent, packaged("zoo.schema.json"))
    try:
        with replacing(path) as part:
            part.write_text(packaged("zoo.template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    except BaseException:
        if made:
            (path.parent / "zoo.schema.json").unlink()
        raise
    return made


@contextmanager
def _begun(to: Path | None) -> Iterator[bool]:
    """Begin the manifest if there is none, and remove it again if the block fails. Yields whether it is new."""
    new = to is not None and not to.exists() and to.parent.is_dir()
    if to is not None and new:
        made = begin(to)
        try:
            yield True
        except BaseException:
            to.unlink()
            if made:
                (to.parent / "zoo.schema.json").unlink()
            raise
    else:
        yield False


def _facts(addition: Addition, proposal: Proposal | None) -> dict[str, Any]:
    """An entry as JSON. A copied data set has no proposal."""
    facts = {"section": addition.section, "name": addition.name, "entry": addition.plain}
    notes = {field: note for field, note in proposal.notes.items() if field} if proposal else {}
    return facts | {"assumed": notes, "remarks": list(proposal.remarks) if proposal else []}


def _proposed(source: str, folder: Path, used: Zoo, wishes: Wishes, before: Entry | None) -> tuple[Taken, Proposal]:
    """A file for a manifest in this folder, and the entry proposed for it. Remarks on it are told at once. `before` is the entry that the
    manifest may have for it already.
    """
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import tell
    from segzoo.zoo.own.propose import propose
    from segzoo.zoo.own.take import take

    with byte_progress(source.rsplit("/", 1)[-1]) as said:
        taken = take(source, folder, used, said, before.artifact if before else None)
    proposal = propose(taken, used.manifest, wishes)
    for remark in proposal.remarks:
        tell(f"{source}: {remark}", style="yellow")
    return taken, proposal


def _around(choice: Choice, to: Path | None) -> tuple[Zoo, list[ZooPart]]:
    """The zoo from which a proposal may take facts, and the manifests with which its target is used together.

    The zoo is made of the target, the manifests of --zoo and the shipped one.
    """
    from segzoo.manifest.merge import parts_of
    from segzoo.zoo.zoo import open_zoo

    target = to and to.resolve()
    chosen = [part for part in parts_of(choice.zoo) if part.path.resolve() != target]
    names = [*([str(to)] if to else []), *(part.given for part in chosen)]
    names += [] if "shipped" in names else ["shipped"]
    together = any(Path(zoo).resolve() == target for zoo in choice.zoo)
    return open_zoo(names, choice.offline, choice.mirrors, choice.deadline), chosen if together else []


def _additions(proposals: Sequence[Proposal], used: Zoo, to: Path | None, others: list[ZooPart]) -> list[Addition]:
    """The entries, and before them the data sets that they need and the manifest does not have."""
    from segzoo.zoo.own.write import Addition, copied

    entries = [Addition(one.kind, one.name, one.plain, one.notes) for one in proposals]
    if not to:
        return entries
    there = {name for part in (used.parts[0], *others) for name in part.manifest.datasets}
    lacking = dict.fromkeys(_data_sets(proposals))
    return [*(copied(name, used.manifest.datasets[name], used.origins[name].given) for name in lacking if name not in there), *entries]


def _data_sets(proposals: Sequence[Proposal]) -> Iterator[str]:
    """The data sets that entries need."""
    yield from (one.plain["protocol"]["dataset"] for one in proposals if "dataset" in one.plain.get("protocol", {}))


def _show_added(to: Path, new: bool, additions: Sequence[Addition], proposals: Sequence[Proposal], options: str) -> None:
    """What was put into a manifest, what is assumed in it, and the next command; `options` are those that it needs."""
    from segzoo.cli.terminal.show import show, tell

    if new:
        show(f"{to}: begun")
    for addition in additions:
        show(f"{to}: {addition.section}.{addition.name}" + ("" if addition.section != "datasets" else ", copied"))
    for one in proposals:
        for field, note in one.notes.items():
            if field:
                tell(f"{one.name}: {field}: {note}", style="yellow")
    tell(f"next: segzoo {options}verify {' '.join(one.name for one in proposals)}", style="dim")


def _show_proposed(additions: Sequence[Addition], proposals: Sequence[Proposal], used: Zoo) -> None:
    """The entries as they would stand in a manifest, and where their data sets are."""
    from segzoo.cli.terminal.show import show, tell
    from segzoo.manifest.spelling import spelt

    for section in dict.fromkeys(one.section for one in additions):
        show(f"{section}:")
        for one in additions:
            if one.section == section:
                for line in (f"  {one.name}:", *spelt(one.plain, 4, one.notes)):
                    show(line)
    for name in sorted(set(_data_sets(proposals))):
        tell(f"data set {name} is of the zoo '{used.origins[name].given}': --to copies it too, or use both, each with a --zoo")
