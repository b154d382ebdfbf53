"""What `segzoo augreg` and `segzoo batch` have in common: options of a plan, and the commands `run` and `status`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segzoo.cli.options import Choice, network_options
from segzoo.errors import UsageError
from segzoo.layouts import NAMES
from segzoo.vocabulary import KEEP, NUMBERS

if TYPE_CHECKING:
    from segzoo.scale.plan import Doing, Plan
    from segzoo.scale.run import State

Command = TypeVar("Command", bound=Callable[..., Any])
_LINE = 60.0  # seconds between lines of a log


def doing_options(command: Command) -> Command:
    """What a plan does with each file, and where it is written."""
    for option in (
        click.option("--sizes", is_flag=True, help="Ask each host for the size of its files, and compare; downloads nothing."),
        click.option("--numbers", type=click.Choice(NUMBERS), default=NUMBERS[0], show_default=True, help="Files to climb the numbers rung for."),
        click.option("--keep", type=click.Choice(KEEP), default=KEEP[0], show_default=True, help="What stays of each file."),
        click.option("--to", type=click.Choice(list(NAMES)), help="Layout to convert to, as safetensors.  [default: no conversion]"),
        click.option("-o", "--output", required=True, metavar="RUN", help="Folder of the run, or an address that fsspec knows."),
    ):
        command = option(command)
    return command


def frozen(choice: Choice, plan: Plan, output: str, sizes: bool, as_json: bool) -> None:
    """Write a plan, and say what it needs; with `sizes`, ask hosts. Raises SystemExit where sizes differ."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.scale.engine import Resources
    from segzoo.scale.make import needs_disk
    from segzoo.scale.place import place_of
    from segzoo.scale.plan import freeze
    from segzoo.scale.pool import workers_of

    place = place_of(output)
    plan, there = freeze(plan, place)
    workers = workers_of("", Resources())
    in_run, in_store = needs_disk(plan, workers)
    errors = _differing(choice, plan) if sizes else []
    facts = {"run": place.address, "digest": plan.digest, "files": len(plan.items), "bytes": plan.bytes, "already": there}
    facts |= {"disk_in_run": in_run, "disk_in_store": in_store, "workers": workers, "sizes_compared": sizes}
    if as_json:
        show_json({**facts, "differing": [{"message": error.message, "code": error.exit_code} for error in errors]}, *errors)
    else:
        _show_plan(plan, place.address, there, (in_run, in_store, workers), sizes, errors)
    if errors:
        raise SystemExit(min(error.exit_code for error in errors))


def _show_plan(plan: Plan, address: str, there: bool, needs: tuple[int, int, int], sizes: bool, errors: list[Any]) -> None:
    from segzoo.cli.terminal.failure import show_errors
    from segzoo.cli.terminal.show import counted, gigabytes, show, tell

    unknown = sum(not item.sizes for item in plan.items)
    size = gigabytes(plan.bytes) + (f" and {unknown} of unknown size" if unknown else "")
    show(f"{counted(len(plan.items), 'file')}, {size}, plan {plan.digest[:12]}{', there already' if there else ''}")
    show(f"needs {gigabytes(needs[0])} in {address}, and {gigabytes(needs[1])} in the store ({counted(needs[2], 'worker')})")
    if sizes and not errors:
        show("every file that has a size in the plan has it at its host")
    show_errors(errors)
    if not errors:
        tell(f"next: segzoo {click.get_current_context().parent.info_name} run {address}", style="dim")  # type: ignore[union-attr]


def _differing(choice: Choice, plan: Plan) -> list[Any]:
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.scale.sizes import sizes

    found = []
    with work_progress("sizes", len(plan.items)) as done:
        for one in sizes(plan, choice.open().policy()):
            done()
            found += [one.error] if one.error else []
    return sorted(found, key=lambda error: error.message)


def shard_of(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The value of --shard."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", value)
    if not found or int(found[1]) > int(found[2]):
        raise click.BadParameter(f"'{value}' is not K/N, with K from 1 to N, such as 3/16")
    return int(found[1]), int(found[2])


@click.command(short_help="Do what a plan says: fetch, prove, convert; again as typed goes on.")
@click.argument("run_", metavar="RUN")
@click.option("--on", default="local", show_default=True, metavar="ENGINE", help="local, local:WORKERS, ray, or ray:ADDRESS (auto, HOST:PORT).")
@click.option("--shard", callback=shard_of, metavar="K/N", help="Only the Kth of N parts, as a job of an array does.")
@click.option(
    "--tries",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Tries of what network, disk or worker failed.",
)
@click.option("--stall", type=click.FloatRange(min=0), default=30, show_default=True, metavar="MINUTES", help="End after so long without a worker.")
@click.option("--again", is_flag=True, help="Try also the files that failed for good.")
@click.option("--json", "as_json", is_flag=True, help="Print a record a file as JSON.")
@network_options
@click.pass_obj
def run(choice: Choice, run_: str, on: str, shard: tuple[int, int] | None, tries: int, stall: float, again: bool, as_json: bool) -> None:
    """Do what the plan in RUN says, file by file, with many workers.

    Each file is fetched, held to its size and hash, proved by names and by round trips through all layouts, and converted; the numbers
    rung is climbed once for each kind of file. What has become of a file is a row of its own, written whole. The same command again goes
    on from the rows that are there; a worker that is killed costs its own file's time only. A file that fails does not keep the others.

    Workers are processes of this machine, one a core, or tasks of a Ray cluster. All workers together open at most 16 connections.

    \b
    Examples:
      segzoo augreg run RUN
      segzoo augreg run RUN --on ray:10.0.0.1:6379
      segzoo augreg run RUN --shard $SLURM_ARRAY_TASK_ID/64
    """
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers compute; a thread a core for each would be too many
    from segzoo.cli.terminal.answer import show_json
    from segzoo.scale import kinds, rows
    from segzoo.scale.place import place_of
    from segzoo.scale.plan import thaw
    from segzoo.scale.run import Ended, Wishes, alone, left_of, resources_of, tidy, verdict
    from segzoo.scale.run import run as run_plan

    place = place_of(run_)
    plan = thaw(place)
    zoo = choice.open()
    wishes = Wishes(on, shard, tries, stall, again, zoo.offline, zoo.mirrors, zoo.netrc, zoo.deadline)
    records = []
    with alone(place, shard):
        there = rows.read_all(place, plan)
        items, left = left_of(plan, there, wishes)
        state = _state(plan, items, left, there)
        with _progress(state, items) as said:
            for step in run_plan(plan, place, wishes, resources_of(plan), state, left):
                if isinstance(step, Ended):
                    records.append({**step.row, "final": step.final})
                    there[step.row["key"]] = step.row
                said(step)
        tidy(plan, place, whole=shard is None)
    errors = verdict(plan, place, items, there)
    skipped = {kind: str(check["detail"]) for kind, check in kinds.read_all(place, plan.digest).items() if check["status"] == "skipped"}
    if as_json:
        passed = sum(row["status"] == "passed" for item in items if (row := there.get(item.key)))
        facts = {"run": place.address, "files": len(items), "passed": passed, "workers_died": state.deaths, "numbers_skipped": skipped}
        show_json({**facts, "records": records}, *errors)
    else:
        _show_end(state, len(items), skipped, errors)
    if errors:
        raise SystemExit(min(error.exit_code for error in errors))


def _state(plan: Plan, items: list[Any], left: list[Any], there: Any) -> State:
    """Where a run stands at its beginning."""
    from segzoo.scale.run import State

    todo = {item.key for item, _ in left}
    here = [item for item in items if item.key not in todo]
    failed = sum(there[item.key]["status"] == "failed" for item in here)
    size = sum(item.size for item in here)
    return State(len(items), sum(item.size for item in items), len(here), failed, size, here=len(here), here_bytes=size)


@contextmanager
def _progress(state: State, items: list[Any]) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal; elsewhere a line a minute, and a line for each failure."""
    from segzoo.cli.terminal.show import redraws, tell

    last = monotonic()

    def line(step: Any) -> None:
        nonlocal last
        if step is not None and step.row["status"] == "failed":
            tell(f"{step.row['key']}: {step.row['reason']}{'' if step.final else '; it is tried again'}", style="red" if step.final else "yellow")
        if monotonic() - last >= _LINE:
            last = monotonic()
            tell(said(state))

    if not redraws():
        yield line
        return
    from segzoo.cli.terminal.bars import running

    with running("files", state.files, lambda: said(state, short=True)) as advance:

        def drawn(step: Any) -> None:
            if step is not None and step.row["status"] == "failed":
                line(step)
            advance(state.done)

        yield drawn


def said(state: State, short: bool = False) -> str:
    """A run in one line: files, bytes, rate, time left, failures."""
    from segzoo.cli.terminal.show import counted, gigabytes

    spent = monotonic() - state.started
    parts = [] if short else [f"{state.done:,} of {counted(state.files, 'file')}"]
    parts += [f"{gigabytes(state.done_bytes)} of {gigabytes(state.bytes)}", f"{gigabytes(int(state.moved / max(spent, 1e-3)))}/s"]
    fresh = state.done - state.here
    parts += [f"{fresh / max(spent, 1e-3):.2f} files/s"] if fresh else []
    left = state.seconds_left
    parts += [_time(left)] if left is not None else []
    parts += [counted(state.workers, "worker")] if state.workers else []
    parts += [f"{state.failed} failed"] if state.failed else []
    parts += [counted(state.deaths, "worker died", "workers died")] if state.deaths else []
    return ", ".join(parts)


def _time(left: float) -> str:
    return f"{left / 3600:.1f} h left" if left >= 3600 else f"{left / 60:.0f} min left" if left >= 60 else f"{left:.0f} s left"


def _show_end(state: State, files: int, skipped: dict[str, str], errors: list[Any]) -> None:
    from segzoo.cli.terminal.failure import show_errors
    from segzoo.cli.terminal.show import counted, show, tell

    fresh = state.done - state.here
    show(f"{counted(files, 'file')}: {state.done - state.failed} passed, {state.failed} failed; {fresh} done now, {state.here} were done before")
    if skipped:
        tell(f"numbers were not climbed for {counted(len(skipped), 'kind')}: {next(iter(skipped.values()))}", style="yellow")
    show_errors(errors[:20])
    if len(errors) > 20:
        show(f"and {len(errors) - 20} more: segzoo augreg status counts them", err=True)


@click.command(short_help="Say where a run stands.")
@click.argument("run_", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(run_: str, as_json: bool) -> None:
    """Say where the run in RUN stands, by its plan and its rows: files and bytes done, failures by exit code, the numbers rung of each kind.

    \b
    Examples:
      segzoo augreg status RUN
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, gigabytes, show
    from segzoo.scale.place import place_of
    from segzoo.scale.plan import thaw
    from segzoo.scale.status import plain
    from segzoo.scale.status import status as status_of

    place = place_of(run_)
    found = status_of(thaw(place), place)
    if as_json:
        show_json(plain(found))
        return
    show(f"{counted(found.files, 'file')}: {found.passed} passed, {found.failed} failed, {found.missing} not done", style="bold")
    show(f"{gigabytes(found.done_bytes)} of {gigabytes(found.bytes)}")
    if found.files_an_hour:
        left = f", about {_time(3600 * found.hours_left)}" if found.missing and found.hours_left is not None else ""
        show(f"{found.files_an_hour:,.0f} files an hour{left}; the last row is of {found.last}")
    for code, (count, example) in found.failures.items():
        show(f"exit {code}: {counted(count, 'file')}, such as {example}", style="red")
    for kind, one in found.kinds.items():
        show(f"numbers {one}: {kind}", style="red" if one == "failed" else "")
    for name in found.running:
        show(f"a run is on it now: {name}")


def images_of(value: str | None) -> int | None:
    """The value of --images: a number, or `all`, which is 0."""
    if value is None or value == "all":
        return 0 if value else None
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise UsageError(f"--images {value}: neither a positive number nor 'all'")
    return int(value)


def doing_of(options: dict[str, Any], **more: Any) -> Doing:
    from segzoo.scale.plan import Doing

    return Doing(options["to"], options["keep"], options["numbers"], **more)
