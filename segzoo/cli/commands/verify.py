"""`segzoo verify`: climb the ladder of evidence, live."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import Name
from segzoo.cli.options import Choice, network_options
from segzoo.cli.terminal.board import Board
from segzoo.errors import EnvironmentFault, UsageError
from segzoo.vocabulary import MODES, PRECISIONS, RUNGS

if TYPE_CHECKING:
    from segzoo.evaluation.processes import World


# Exit codes of what says nothing of an entry: it could not be fetched, found, or evaluated here.
UNFINISHED = (3, 7, 8)


class Images(click.ParamType[int]):
    """A number of images, or `all`."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "all":
            return 0
        if isinstance(value, int) or (str(value).isdecimal() and int(value) > 0):
            return int(value)
        self.fail(f"{value!r} is neither a positive number nor 'all'", param, ctx)


@click.command(short_help="Prove models by bytes, names, round trip, numbers and mIoU.")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=Name("backbones", "models"))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@click.option("--images", type=Images(), help="Images for the mIoU, a seeded choice.  [default: 50 on a CPU, all on a GPU]")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="How to measure.  [default: ss]")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, where it is not beside the manifest.")
@click.option("--device", help="cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="What the network computes in.")
@click.option("--smoke", type=click.IntRange(min=1), metavar="N", help="Compare N images with the counts in the receipt; writes none.")
@click.option("--speed", is_flag=True, help="Measure images a second too, as MMSegmentation's benchmark does.")
@click.option("--again", is_flag=True, help="Climb every rung, also those that a receipt has passed.")
@click.option("--require", type=click.Choice(RUNGS), multiple=True, help="Exit 8 if this rung was skipped.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON.")
@network_options
@click.pass_obj
def verify(
    choice: Choice,
    names: tuple[str, ...],
    every: bool,
    images: int | None,
    modes: tuple[str, ...],
    data: Path | None,
    device: str | None,
    precision: str,
    smoke: int | None,
    speed: bool,
    again: bool,
    require: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch what is missing, then climb the ladder of evidence for each entry.

    \b
    bytes       size and hash of the file
    names       layout, geometry and dtype are those of the manifest
    round trip  to every other layout and back: the same tensors, bit for bit
    numbers     the torch backbone against a JAX reference, float64 and float32
    mIoU        single scale, against the reported figure and, where they are
                stored, the pixel counts of each image; on a CPU a seeded
                subset, which can say 'consistent' but not 'confirmed'.
                --mode ms+flip is multi-scale and flip as MMSegmentation 0.x
                measured its published figures, ms+flip-1.x as 1.x does it

    A receipt for each entry is written to $SEGZOO_HOME/receipts, unless network, disk or data set kept the
    run from its end; a rung that it has passed with the same bytes, data, settings and versions is not
    climbed again, so that a broken run goes on where it was.
    Under torchrun the processes share the images, with the same result. Exit 0 when nothing failed.

    \b
    Examples:
      segzoo --zoo mini verify --all
      segzoo verify vit-t-mask --data ADEChallengeData2016 --images 200
      segzoo verify vit-t-mask --smoke 5
      torchrun --nproc-per-node 4 -m segzoo verify vit-l-mask --precision bf16
    """
    from importlib.util import find_spec
    from time import perf_counter

    started = perf_counter()
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, megabytes, tell
    from segzoo.datasets.listing import folder_given
    from segzoo.evaluation.device import best_device
    from segzoo.evidence import ladder
    from segzoo.evidence.climb import artifacts_of
    from segzoo.evidence.climb import verify as verify_entry
    from segzoo.evidence.keeping import changed, of_other_data, outweighed, settled
    from segzoo.evidence.receipt import proved, read, receipt, write
    from segzoo.zoo.names import resolve

    world = _world()
    first = world is None or world.rank == 0
    with world.together() if world else nullcontext():
        zoo = choice.load()
        entries = resolve(zoo, names, every, zoo.manifest.entries)
        if world and smoke:
            raise UsageError("--smoke is a matter of seconds: run it in one process")
        if smoke and images is not None:
            raise UsageError("--smoke and --images both say how many images", hint=f"--smoke {smoke} alone compares {smoke} of those in the receipt")
        device = device or best_device()
        if not world and find_spec("torch") is not None:
            from segzoo.evaluation.precision import device_of

            device_of(device)  # before anything is fetched; of several processes each says so when it comes to its share
        if data is not None:
            folder_given(data)
    count = images if images is not None else ladder.IMAGES_ON_CPU if device == "cpu" else 0
    board = Board(zoo, entries, silent=not first, summed=first and not as_json)
    setting = ladder.Setting(
        zoo.manifest,
        zoo.base,
        zoo.store,
        device=device,
        images=count or None,
        data=data,
        modes=tuple(dict.fromkeys(modes)) or ("ss",),
        precision=precision,
        smoke=smoke,
        speed=speed,
        again=again,
        world=world,
        said=board.said,
        policy=zoo.policy(),
    )
    needed = {artifact.name: artifact for entry in entries.values() for artifact in artifacts_of(entry)}
    missing = [artifact for artifact in needed.values() if zoo.store.find(artifact) is None]
    if missing and not choice.offline and first:
        sizes = [artifact.size for artifact in missing if artifact.size is not None]
        parts = [f"{counted(len(sizes), 'file')}, {megabytes(sum(sizes))}"] if sizes else []
        parts += [f"{counted(len(missing) - len(sizes), 'file')} of unknown size"] if len(sizes) < len(missing) else []
        tell(f"to fetch: {' and '.join(parts)}")
    records = []
    with board.live():
        for name, entry in entries.items():
            receipts, path = zoo.receipts_of(name), zoo.receipt_of(name)
            previous = proved(name, receipts, any_version=smoke is not None) if first else {}
            checks: list[dict[str, Any]] = []
            for check in verify_entry(entry, setting, previous):
                checks.append(check.record())
                board.add(name, check)
                if first and not smoke:
                    write(receipt(name, entry.title, checks), receipts, finished=False)
            records.append(receipt(name, entry.title, checks))
            if first and not smoke and not any(check["code"] in UNFINISHED for check in checks):
                earlier = read(path)  # another run may have written it meanwhile
                earlier = None if earlier is None or changed(earlier, entry) else earlier
                records[-1] = settled(records[-1], earlier)
                if earlier and (more := outweighed(records[-1], earlier)):
                    stays = "stays as it was" if earlier["passed"] else "stays as it was, failed"
                    board.notes.append(f"{name}: the receipt {stays}, since it has {more}")
                    path.with_suffix(".unfinished").unlink(missing_ok=True)
                else:
                    if earlier and (gone := of_other_data(records[-1], earlier)):
                        board.notes.append(f"{name}: the receipt before this had {gone}")
                    write(records[-1], receipts)
                    board.receipts[receipts] = None
    codes = [check.code for checks in board.checks.values() for check in checks if check.code]
    unproved = {
        name: [check for check in checks if check.status == "skipped" and check.rung in require] for name, checks in board.checks.items() if require
    }
    board.notes += [f"{name}: {check.rung} is required, but was {board.word(check)}" for name, checks in unproved.items() for check in checks]
    code = min(codes) if codes else 8 if any(unproved.values()) else 0
    if first and as_json:
        show_json(records, code)
    elif first:
        board.summary(perf_counter() - started)
    raise SystemExit(code)


def _world() -> World | None:
    """The processes that torchrun started; None where there is this one alone."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise EnvironmentFault("WORLD_SIZE is set, but torch is not installed: pip install 'segzoo[eval]'")
    from segzoo.evaluation.processes import join, leave

    click.get_current_context().call_on_close(leave)
    return join()
