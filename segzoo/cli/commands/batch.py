"""`segzoo batch`: many entries of the zoo, or many files, as one run."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, network_options
from segzoo.cli.runs import doing_of, doing_options, frozen, images_of, run, status
from segzoo.errors import UsageError
from segzoo.vocabulary import MODES, PRECISIONS


@click.group(short_help="Fetch, convert and prove many entries or files as one run.")
def batch() -> None:
    """Many entries of the zoo, or many files, as one run: planned, done by many workers, gone on from after a kill."""


@batch.command(short_help="Freeze what to do with entries or files.")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", type=ZooName("backbones", "models", or_file=True))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo.")
@doing_options
@click.option("--verify", is_flag=True, help="Climb the whole ladder for each NAME, one GPU a worker where there are some.")
@click.option("--data", type=click.Path(path_type=Path), multiple=True, help="With --verify: folder of a data set; given again, each model on each.")
@click.option("--images", metavar="N|all", help="With --verify: images for the mIoU.  [default: 50 on a CPU, all on a GPU]")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="With --verify: how to measure.  [default: ss]")
@click.option("--device", help="With --verify: cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="With --verify: what the network computes in.")
@click.option("--json", "as_json", is_flag=True, help="Print what was planned as JSON.")
@network_options
@click.pass_obj
def plan(
    choice: Choice,
    /,
    names: tuple[str, ...],
    every: bool,
    output: str,
    verify: bool,
    data: tuple[Path, ...],
    images: str | None,
    modes: tuple[str, ...],
    device: str | None,
    precision: str,
    sizes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Freeze the work on entries of the zoo and on files of your own. segzoo batch run does it.

    The file of an entry must be what the manifest says. With --verify the ladder is climbed as `segzoo verify` does, mIoU too, and its
    receipts are kept.

    \b
    Examples:
      segzoo batch plan --all -o RUN --to timm
      segzoo batch plan work_dirs/*.pth -o RUN --to hf --keep none
      segzoo batch plan vit-t-mask vit-s-mask --verify --data ADEChallengeData2016 -o RUN
    """
    from segzoo.scale.make import absolute_zoos, of_names
    from segzoo.zoo.names import resolve

    if verify and options["to"]:
        raise UsageError("--verify and --to are two kinds of work", hint="plan them apart")
    zoo = choice.open()
    among = zoo.manifest.entries
    files = [] if every else [Path(name) for name in names if name not in among and Path(name).is_file()]
    chosen = [name for name in names if name in among or not Path(name).is_file()]
    entries = resolve(zoo, chosen, every, among) if chosen or every else {}
    more = {"verify": verify, "device": device, "images": images_of(images), "modes": modes or ("ss",), "precision": precision}
    made = of_names(zoo, entries, among, files, doing_of(options, **more), data, absolute_zoos(choice.zoo))
    frozen(choice, made, output, sizes, as_json)


for command in (run, status):
    batch.add_command(copy(command))  # each group gives its commands the program's options
