"""Every command by name: its module, and its line in `segzoo --help`.

`--help` and a shell that completes names read this table alone, and import no command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from segzoo.cli.aliased import Aliased
from segzoo.cli.options import with_program_options


class Row(NamedTuple):
    """Where a command is: a module of `cli.commands` and the command's name in it. `line` is its one-line help."""

    module: str
    attribute: str
    line: str


TABLE = {
    "fetch": Row("fetch", "fetch", "Download weights and verify them by hash."),
    "convert": Row("convert", "convert", "Convert weights to another layout or file format."),
    "verify": Row("verify", "verify", "Prove models by bytes, names, round trip, numbers and mIoU."),
    "report": Row("report", "report", "Make a page of receipts: verdicts, plots, classes, images, provenance."),
    "predict": Row("predict", "predict", "Segment images: overlays with a legend, label maps, class shares."),
    "view": Row("view", "view", "Open a page to drop pictures on; compare models, save label maps."),
    "score": Row("score", "score", "Score saved label maps against a data set: mIoU, Dice, F-score and more."),
    "data": Row("data", "data", "Look at a data set of your own, and describe it for a manifest."),
    "export": Row("export", "export", "Write a folder that transformers, timm, ONNX Runtime or plain torch loads."),
    "augreg": Row("augreg", "augreg", "Choose files of the AugReg release; fetch, convert and prove thousands."),
    "batch": Row("batch", "batch", "Fetch, convert and prove many entries or files as one run."),
    "catalogue": Row("catalogue", "catalogue", "Make and ask the catalogue of a run: SQL over a Parquet file."),
    "list": Row("list", "list_", "List the models, backbones and data sets of the zoo."),
    "info": Row("info", "info", "Show everything the zoo says about one entry."),
    "inspect": Row("inspect", "inspect", "Show what is in a file of weights."),
    "diff": Row("inspect", "diff", "Compare two files of weights, across layouts and formats."),
    "store": Row("store", "store", "Fill, carry, see, check and empty the store."),
    "manifest": Row("manifest", "manifest", "Write, check and pin a zoo of your own."),
    "receipt": Row("receipt", "receipt", "Check receipts again, offline; print one for signing."),
    "doctor": Row("doctor", "doctor", "Look at Python, packages, GPU, store and network, and say what to mend."),
    "explain": Row("explain", "explain", "Say what an exit code means, and what to do."),
    "completion": Row("completion", "completion", "Print the shell's completion script."),
}

EARLIER = {"cache": ("store",), "adopt": ("store", "add"), "bundle": ("store",)}


@cache
def _command(name: str) -> click.Command:
    row = TABLE[name]
    return with_program_options(getattr(import_module(f"segzoo.cli.commands.{row.module}"), row.attribute))


class Commands(Mapping[str, click.Command]):
    """The commands of the table. A command is imported when it is taken."""

    def __getitem__(self, name: str) -> click.Command:
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)


class Tabled(Aliased):
    """The group of the table's commands. Its help and the completion of its names import none of them."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, earlier=EARLIER, **options)
        self.commands = Commands()  # type: ignore[assignment]  # click reads it only

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.line) for name, row in sorted(TABLE.items())])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=row.line) for name, row in sorted(TABLE.items()) if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]
