"""`segzoo fetch`: verified downloads into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, network_options
from segzoo.cli.output import OutputFolder
from segzoo.errors import SegzooError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from segzoo.manifest.artifact import Artifact
    from segzoo.store.fetched import Fetched
    from segzoo.zoo.zoo import Zoo


@click.command(short_help="Download weights and verify them by hash.")
@click.argument("names", nargs=-1, metavar="NAME...", type=ZooName("backbones", "models", "datasets"))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@click.option("-o", "--output", type=OutputFolder(), metavar="DIR", help="Copy the files into this folder too, under their published names.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, from where and how large; fetch nothing.")
@click.option("--require-hashes", is_flag=True, help="Refuse a file without a full sha256, in the manifest or pinned.")
@click.option("--pin", metavar="SHA256", help="Accept the one NAME with this sha256, and pin it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was fetched as JSON.")
@network_options
@click.pass_obj
def fetch(
    choice: Choice,
    names: tuple[str, ...],
    every: bool,
    output: Path | None,
    dry_run: bool,
    require_hashes: bool,
    pin: str | None,
    as_json: bool,
) -> None:
    """Download backbones, models or data sets by name, and verify them by hash while they arrive.

    The name of a backbone stands for its AugReg npz. MMSegmentation's own converted file has its file
    name for a name; once it is here, verify compares it with our conversion.

    Addresses are tried in order. A file appears in the store ($SEGZOO_HOME, else ~/.cache/segzoo) only
    when its size and hash are right. If a download breaks off, the part that has arrived stays, and the
    next fetch goes on from there, also from another address. If only the eight hex digits of a file name
    are known, they are checked, and the checksums that the server gives; the full hash of the first
    download is then pinned in segzoo.lock, and no other file is accepted from then on. If no hash is
    known, the hash is pinned only if the file opens as the manifest describes it. If one file cannot be
    fetched, the others still are. A data set is unpacked too, and its pairs are counted.

    \b
    Examples:
      segzoo fetch vit-t vit-t-mask
      segzoo fetch vit-b-mask -o checkpoints/
      segzoo --zoo mini fetch --all
    """
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.failure import show_errors
    from segzoo.cli.terminal.show import on_terminal, tell

    zoo = choice.open()
    wanted = _wanted(zoo, names, every)
    if pin:
        _pin(zoo, wanted, pin)
    if dry_run:
        plan = [_planned(zoo, name, artifact) for name, artifact in wanted.items()]
        if as_json:
            show_json(plan)
        else:
            _show_plan(plan)
        return
    outcomes = dict(_fetched(zoo, wanted, output, require_hashes))
    errors = [outcome for outcome in outcomes.values() if isinstance(outcome, SegzooError)]
    code = min((error.exit_code for error in errors), default=0)
    ordered = [(name, outcomes[name]) for name in wanted]
    if as_json:
        show_json([{"name": name, "error": problem(one)} if isinstance(one, SegzooError) else one for name, one in ordered], *errors)
    else:
        for _, one in ordered:
            if not isinstance(one, SegzooError):
                _show(one)
    show_errors(errors)
    if errors:
        raise SystemExit(code)
    first = next((name for name in wanted if name in zoo.manifest.entries), None)
    if first and not as_json and on_terminal():
        tell(f"next: segzoo {choice.option}verify {first}", style="dim")


def _fetched(zoo: Zoo, wanted: dict[str, Artifact], output: Path | None, require_hashes: bool) -> Iterator[tuple[str, dict[str, Any] | SegzooError]]:
    """Fetch several files at a time. Yields each name with its facts, or with its error, in the order in which the downloads end."""
    from segzoo.cli.terminal.progress import many_progress
    from segzoo.store.fetch import fetch_many

    labels = {name: artifact.name for name, artifact in wanted.items()}
    with many_progress() as said:
        policy = zoo.policy(require_hashes=require_hashes)
        for name, outcome in fetch_many(wanted, zoo.store, zoo.base, lambda name, *done: said(labels[name], *done), policy=policy):
            try:
                if isinstance(outcome, SegzooError):
                    raise outcome
                facts = _result(name, outcome, output)
                if name in zoo.manifest.datasets:
                    facts |= _unpacked(zoo, name, outcome, said)
                yield name, facts
            except SegzooError as error:
                yield name, error


def _wanted(zoo: Zoo, names: tuple[str, ...], every: bool) -> dict[str, Artifact]:
    from segzoo.zoo.names import resolve

    artifacts = zoo.manifest.artifacts
    return resolve(zoo, names, every, {name: artifacts[name] for name in zoo.manifest.entries} if every else artifacts)


def _pin(zoo: Zoo, wanted: dict[str, Artifact], sha256: str) -> None:
    import re

    if len(wanted) != 1:
        raise UsageError("--pin goes with one NAME")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UsageError(f"'{sha256}' is no sha256: 64 digits from 0-9a-f")
    zoo.store.pin_by_hand(next(iter(wanted.values())), sha256)


def _planned(zoo: Zoo, name: str, artifact: Artifact) -> dict[str, Any]:
    """What a fetch would do, as far as it is known without a connection."""
    expectation = zoo.store.expectation(artifact)
    urls, said = [mirror.url for mirror in artifact.urls], expectation.evidence()
    facts = {"name": name, "file": artifact.name, "here": zoo.store.holds(artifact, expectation), "size": artifact.joint_size}
    return facts | {"evidence": said, "urls": urls}


def _show_plan(plan: list[dict[str, Any]]) -> None:
    from segzoo.cli.terminal.show import counted, megabytes, show

    for one in plan:
        show(f"{one['name']}: {'here already' if one['here'] else 'to fetch'}, {megabytes(one['size'])}, {one['evidence']}")
        for url in one["urls"] if not one["here"] else ():
            show(f"  {url}")
    missing = [one for one in plan if not one["here"]]
    unknown = sum(one["size"] is None for one in missing)
    known = [megabytes(sum(one["size"] or 0 for one in missing))] if len(missing) > unknown or not missing else []
    sizes = known + ([f"{unknown} of unknown size"] if unknown else [])
    show(f"{counted(len(missing), 'file')} to fetch: {' and '.join(sizes)}")


def _result(name: str, fetched: Fetched, output: Path | None) -> dict[str, Any]:
    """The facts of a fetched file. With `output` it is copied there first: raises UsageError where another file has its name."""
    from shutil import copyfile

    from segzoo.atomic import replacing, sweep_once
    from segzoo.store.hashing import hashed

    facts: dict[str, Any] = {"name": name, "path": str(fetched.path), "sha256": fetched.sha256, "size": fetched.size}
    facts |= {"evidence": fetched.evidence, "url": fetched.url, "cached": fetched.cached, "received": fetched.received, "resumed": fetched.resumed}
    facts["passed_over"] = fetched.failures
    if output is not None:
        sweep_once(output)
        for name, sha256 in (fetched.artifact.hashes if fetched.artifact.shards else {fetched.artifact.name: fetched.sha256}).items():
            copy = output / name
            if not copy.exists():
                with replacing(copy) as part:
                    copyfile(fetched.path.with_name(name) if fetched.artifact.shards else fetched.path, part)
            elif hashed(copy)[0] != sha256:
                raise UsageError(f"{copy}: there is another file of this name", hint="move it away, or name another folder")
        facts["copy"] = str(output / fetched.artifact.name)
    return facts


def _unpacked(zoo: Zoo, name: str, fetched: Fetched, said: Callable[[str, int, int | None], None]) -> dict[str, Any]:
    """Unpack a data set, and give its folder and the digest of its pairs."""
    from segzoo.store.unpacked import install

    folder, digest = install(name, zoo.manifest.datasets[name], fetched.path, zoo.store, lambda done, whole: said(f"{name}: unpacking", done, whole))
    return {"folder": str(folder), "digest": digest}


def _show(result: dict[str, Any]) -> None:
    from segzoo.cli.terminal.show import megabytes, show, tell

    for failure in result["passed_over"]:
        tell(f"{result['name']}: passed over {failure}", style="yellow")
    how = "here already" if result["cached"] else "fetched"
    resumed = f", of which {megabytes(result['resumed'])} were here" if result["resumed"] else ""
    show(f"{result['name']}: {how}, {megabytes(result['size'])}{resumed}, {result['evidence']}")
    show(f"  {result.get('folder') or result.get('copy') or result['path']}")
    if "digest" in result:
        show(f"  digest of the pairs {result['digest']}")
