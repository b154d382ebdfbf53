"""`segzoo report`: what was proved, as a page to look at and to show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.cli.output import OutputFolder
from segzoo.errors import IntegrityError, UsageError
from segzoo.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segzoo.manifest.entries import Entry
    from segzoo.publishing.report.page import Illustrated

_OF_RECEIPTS = ("data", "device", "worst", "title", "note", "no_images")  # options that the page of a catalogue has no use for


@click.command(short_help="Make a page of receipts: verdicts, plots, classes, images, provenance.")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", type=ZooName("backbones", "models", or_file=True))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo, also those not verified yet.")
@click.option("-o", "--output", type=OutputFolder(), metavar="DIR", default=Path("report"), show_default=True, help="Folder for the page.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, if it is not beside the manifest.")
@click.option("--device", help="cpu, cuda, cuda:N or mps, for the pictures of images.  [default: a GPU if there is one]")
@click.option("--catalogue", metavar="RUN", help="The page of a run of many files instead.")
@click.option("--worst", type=click.IntRange(1, 200), default=1, show_default=True, help="How many of the worst images to show.")
@click.option("--title", metavar="TEXT", help="Title of the page.  [default: the zoo's name]")
@click.option("--note", metavar="TEXT", help="A note below the title; each line is a paragraph.")
@click.option("--no-images", is_flag=True, help="Leave out the pictures of images; then no model runs.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@click.pass_obj
def report(
    choice: Choice,
    names: tuple[str, ...],
    every: bool,
    output: Path,
    data: Path | None,
    device: str | None,
    catalogue: str | None,
    worst: int,
    title: str | None,
    note: str | None,
    no_images: bool,
    as_json: bool,
) -> None:
    """Make a page of what `segzoo verify` proved: by default of all entries that have a receipt.

    DIR/index.html needs no other file and no network; it follows light or dark, and can be printed. DIR/report.md is
    the same as Markdown, with its pictures in DIR/pictures.

    Findings come first: reported and measured mIoU with intervals; mIoU against images/s where every receipt has them of one
    machine, or else against parameters; models that saw the same images side by side; then for each model the IoU of each
    class, the confusion matrix, and the best, the median and the --worst N images, for which the model runs again. Folded
    below them are what was proved, torch against JAX layer by layer, and provenance; last comes the command that reproduces
    each receipt. The author is the user.name of git's config, if there is one.

    --catalogue RUN makes the page of a run of `segzoo augreg` or `segzoo batch`: files by family and status, seconds against size, the index's
    accuracies, what stands out, and where index and tensors disagree.

    \b
    Examples:
      segzoo --zoo mini verify --all && segzoo --zoo mini report
      segzoo report vit-t-mask vit-s-mask --data ADEChallengeData2016 -o report/
      segzoo verify own.pth --data scenes/ && segzoo report own.pth --data scenes/
    """
    if catalogue is not None:
        given = click.get_current_context().get_parameter_source
        if beside := [name for name in _OF_RECEIPTS if given(name) is not ParameterSource.DEFAULT]:
            them = " and ".join(f"--{name.replace('_', '-')}" for name in beside)
            raise UsageError(f"--catalogue RUN is a page of its own, to which {them} say{'s' * (len(beside) == 1)} nothing")
        _catalogue(catalogue, names, every, output, as_json)
        return
    from segzoo.cli.commands.receipt import none_yet
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import byte_progress, work_progress

    require("matplotlib", "jinja2", "torch", "PIL")  # before anything is read; jinja2 is needed at the very end
    from segzoo.evidence.known import free_for
    from segzoo.publishing.report.heading import heading
    from segzoo.publishing.report.make import illustrate, refuse_other_page, section_of, write_page
    from segzoo.zoo.own.entry import Wishes
    from segzoo.zoo.own.verified import chosen

    zoo = choice.open()
    kept = [name for name in zoo.manifest.entries if zoo.receipt_of(name).is_file()]
    if not (names or every or kept):
        raise none_yet(zoo)
    refuse_other_page(output)
    with byte_progress("files") as said:
        found = chosen(zoo, names or (() if every else kept), every, data, Wishes(), said, free_for)
    own = found.entries.keys() - zoo.manifest.entries
    zoo, entries = found.zoo, found.entries
    called = {name: _called(entries[name], data) for name in own}
    sections = [section_of(name, entry, zoo, choice.option, called.get(name, "")) for name, entry in entries.items()]
    illustrated = []
    with work_progress("entries", len(sections)) as done:
        for section in sections:
            illustrated.append(illustrate(section, zoo, data, device, images=not no_images, worst=worst))
            done()
    files = write_page(illustrated, heading(zoo.label, title, note), output)
    errors = [IntegrityError(f"{section.name}: {sentence}") for section in sections for sentence in section.broken]
    if as_json:
        verdicts = {section.name: section.verdict for section in sections}
        show_json({"page": str(files.html), "markdown": str(files.markdown), "verdicts": verdicts}, *errors)
    else:
        _show(illustrated, files.html, no_images)
    raise SystemExit(IntegrityError.exit_code if errors else 0)


def _called(entry: Entry, data: Path | None) -> str:
    """A file of one's own, as it is named to `segzoo verify` beside its data set: no path of this machine is on the page."""
    from segzoo.text import quoted

    return quoted(entry.artifact.name) + (f" --data {quoted(data.resolve().name)}" if data else "")


def _catalogue(run: str, names: tuple[str, ...], every: bool, output: Path, as_json: bool) -> None:
    """The page of a run of many files."""
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.show import counted, show

    if names or every:
        raise UsageError("--catalogue RUN is a page of its own: name no entries")
    require("duckdb", "matplotlib", "jinja2")
    from segzoo.publishing.report.catalogue import write
    from segzoo.publishing.report.make import refuse_other_page
    from segzoo.scale.catalogue import compact
    from segzoo.scale.place import place_of
    from segzoo.scale.plan import thaw

    refuse_other_page(output)
    place = place_of(run)
    plan = thaw(place)
    compact(plan, place)
    missing = len(plan.items) - sum(1 for _ in place.names(f"rows/{plan.digest[:12]}"))
    files, page = write(place, {"digest": plan.digest[:12], "files": len(plan.items), "missing": missing}, output)
    verdicts = {str(row["name"]): f"{row['passed']} of {row['files']} passed" for row in page.counts}
    if as_json:
        show_json({"page": str(files.html), "markdown": str(files.markdown), "verdicts": verdicts})
        return
    for row in page.counts:
        show(f"{row['name']}: {verdicts[str(row['name'])]}", style="bold red" if row["failed"] else "green")
    if page.disagree:
        show(f"index and tensors disagree about {counted(len(page.disagree), 'file')}, such as {page.disagree[0]['key']}", style="yellow")
    show(f"{files.html}: the same as Markdown in report.md")


def _show(illustrated: Sequence[Illustrated], page: Path, no_images: bool) -> None:
    """The verdicts, why pictures are missing, where the page is, and what is wrong with receipts."""
    from segzoo.cli.terminal.show import counted, show, tell

    styles = {"good": "green", "bad": "bold red", "open": "yellow"}
    for one in illustrated:
        show(f"{one.section.name}: {one.section.verdict}", style=styles[one.section.kind])
    for one in illustrated:
        if one.missing and one.section.scores and not no_images:
            tell(f"{one.section.name}: no pictures of images: {one.missing}", style="yellow")
    show(f"{page}: {counted(len(illustrated), 'entry', 'entries')}; the same as Markdown in report.md")
    for one in illustrated:
        for sentence in one.section.broken:
            show(f"{one.section.name}: {sentence}", style="red", err=True)
