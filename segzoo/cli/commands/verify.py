"""`segzoo verify`: climb the ladder of evidence, live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, config_option, network_options
from segzoo.errors import EnvironmentFault, SegzooError, UsageError, of_code
from segzoo.extras import require
from segzoo.vocabulary import MODES, PRECISIONS, RUNGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segzoo.evaluation.processes import World
    from segzoo.evidence.check import Check
    from segzoo.manifest.artifact import Artifact
    from segzoo.manifest.entries import Entry
    from segzoo.zoo.own.entry import Wishes
    from segzoo.zoo.zoo import Zoo


class Images(click.ParamType[int]):
    """A number of images, or `all`, which is 0."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "all":
            return 0
        if isinstance(value, int) or (str(value).isdecimal() and int(value) > 0):
            return int(value)
        self.fail(f"{value!r} is neither a positive number nor 'all'", param, ctx)


@click.command(short_help="Prove models by bytes, names, round trip, numbers and mIoU.")
@click.argument("names", nargs=-1, metavar="[NAME|FILE|FOLDER]...", type=ZooName("backbones", "models", or_file=True))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@click.option("--images", type=Images(), help="Images for the mIoU, a seeded choice.  [default: 50 on a CPU, all on a GPU]")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="How to measure.  [default: ss]")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, if it is not beside the manifest.")
@click.option("--like", metavar="NAME", type=ZooName("backbones", "models"), help="The entry of the zoo that your own file is like.")
@config_option
@click.option("--device", help="cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="What the network computes in.")
@click.option(
    "--smoke",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare N images with the receipt's counts; write none. Implies --require mIoU.",
)
@click.option("--speed", is_flag=True, help="Measure images per second too, as MMSegmentation's benchmark does.")
@click.option("--equivalents", is_flag=True, help="Fetch what other sources have too, and compare: the same tensors, a picture's scores.")
@click.option("--no-receipt", "unwritten", is_flag=True, help="Write no receipt: for a store that may be read only.")
@click.option("--again", is_flag=True, help="Climb every rung, also those that the receipt says have passed.")
@click.option("--require", "require_rungs", type=click.Choice(RUNGS), multiple=True, help="Exit 8 if this rung was skipped.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON.")
@network_options
@click.pass_obj
def verify(
    choice: Choice,
    /,
    names: tuple[str, ...],
    every: bool,
    images: int | None,
    smoke: int | None,
    require_rungs: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch what is missing, then climb the ladder of evidence for each entry.

    FILE is a checkpoint of your own, or the index of its shards, and FOLDER stands for the weights in it: what no
    tensor shows is what the file says of itself, else as in the zoo's model of its geometry, and the receipt says
    what was assumed. --data is the folder of its images and labels.

    \b
    bytes       size and hash of the file
    names       layout, geometry and dtype are those of the manifest
    round trip  to every other layout and back: the same tensors, bit for bit
    numbers     the torch backbone against a reference, float64 and float32; the
                model's scores of a picture against published ones
    mIoU        single scale, compared with the reported figure and, if they are
                stored, with the pixel counts of each image; on a CPU a seeded
                subset, which can say 'consistent' but not 'confirmed'.
                --mode ms+flip is multi-scale and flip as MMSegmentation 0.x
                measured its published figures; ms+flip-1.x is that of 1.x;
                ss-32 and ms+flip-32 are the second figures of SegFormers

    A receipt for each entry is written to $SEGZOO_RECEIPTS, else $SEGZOO_HOME/receipts, unless --no-receipt is given,
    or a fault of network, disk or data set cut the run short. A rung that passed with the same bytes, data, settings and versions is not
    climbed again, so a run that was cut short goes on where it was.
    Under torchrun the processes share the images, with the same result. Exit 0 when nothing failed.

    \b
    Examples:
      segzoo --zoo mini verify --all
      segzoo verify vit-t-mask --data ADEChallengeData2016 --images 200
      segzoo verify vit-t-mask --smoke 5
      segzoo verify work_dirs/latest.pth --data scenes
      torchrun --nproc-per-node 4 -m segzoo verify vit-l-mask --precision bf16
    """
    from contextlib import nullcontext
    from time import perf_counter

    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.board import Board
    from segzoo.evidence.run import Ended, run, setting_for, to_fetch
    from segzoo.zoo.own.entry import Wishes

    started = perf_counter()
    world = _world()
    first = world is None or world.rank == 0
    with world.together() if world else nullcontext():
        zoo = choice.open()
        zoo, entries, assumed = _chosen(zoo, names, every, options["data"], Wishes(like=options.pop("like"), config=options.pop("config")))
        _refuse_smoke(smoke, images, world)
        board = Board(entries, silent=not first, summed=first and not as_json)
        setting = setting_for(zoo, images=images, smoke=smoke, world=world, said=board.said, assumed=assumed, **options)
    if first and not zoo.offline:
        _announce(to_fetch(zoo, entries.values(), options["equivalents"]))
    required = {*require_rungs, "mIoU"} if smoke else {*require_rungs}  # a smoke run that compares nothing proves nothing
    records = []
    with board.live():
        for step in run(zoo, entries, setting):
            board.show(step)
            if isinstance(step, Ended):
                records.append(step.receipt)
    unproved = [(name, check) for name, checks in board.checks.items() for check in checks if check.status == "skipped" and check.rung in required]
    board.notes += [f"{name}: {check.rung} is required, but was {board.word(check)}" for name, check in unproved]
    errors = _errors(board.checks, unproved)
    if first and as_json:
        show_json(records, *errors)
    elif first:
        board.summary(perf_counter() - started)
    raise SystemExit(min((error.exit_code for error in errors), default=0))


def _chosen(
    zoo: Zoo, names: tuple[str, ...], every: bool, data: Path | None, wishes: Wishes
) -> tuple[Zoo, dict[str, Entry], Mapping[str, tuple[str, ...]]]:
    """The zoo and the entries to verify. What is assumed of a file of the user's own is told."""
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import tell
    from segzoo.evidence.known import free_for
    from segzoo.zoo.own.verified import chosen

    with byte_progress("files") as said:
        found = chosen(zoo, names, every, data, wishes, said, free_for)
    for notes in found.assumed.values():
        for note in notes:
            tell(note)
    return found.zoo, found.entries, found.assumed


def _world() -> World | None:
    """The processes that torchrun started; None if this process is alone."""
    from segzoo.evaluation.launched import processes

    if processes() == 1:
        return None
    require("torch")
    from segzoo.evaluation.processes import join, leave

    click.get_current_context().call_on_close(leave)
    return join()


def _refuse_smoke(smoke: int | None, images: int | None, world: World | None) -> None:
    """Raises UsageError where --smoke does not go with the rest."""
    if smoke and world:
        raise UsageError("--smoke is a matter of seconds: run it in one process")
    if smoke and images is not None:
        raise UsageError("--smoke and --images both say how many images", hint=f"--smoke {smoke} alone compares {smoke} of those in the receipt")


def _announce(missing: Sequence[Artifact]) -> None:
    """Say how much must be downloaded."""
    from segzoo.cli.terminal.show import counted, megabytes, tell

    sizes = [artifact.size for artifact in missing if artifact.size is not None]
    parts = [f"{counted(len(sizes), 'file')}, {megabytes(sum(sizes))}"] if sizes else []
    parts += [f"{counted(len(missing) - len(sizes), 'file')} of unknown size"] if len(sizes) < len(missing) else []
    if parts:
        tell(f"to fetch: {' and '.join(parts)}")


def _errors(checks: Mapping[str, Sequence[Check]], unproved: Sequence[tuple[str, Check]]) -> Sequence[SegzooError]:
    """What failed; where nothing failed, which required rungs were skipped."""
    failed = [(name, check) for name, some in checks.items() for check in some if check.code]
    lacking = [EnvironmentFault(f"{name}: {check.rung} is required, but was skipped: {check.detail}") for name, check in unproved]
    return [of_code(check.code or 1)(f"{name}: {check.rung}: {check.detail}") for name, check in failed] or lacking
