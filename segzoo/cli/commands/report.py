"""`segzoo report`: what was proved, as a page to look at and to show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import Folder, Name
from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault, IntegrityError, SegzooError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segzoo.publishing.report.facts import Section
    from segzoo.publishing.report.page import Example
    from segzoo.zoo.zoo import Zoo


@click.command(short_help="Make a page of receipts: verdicts, plots, classes, images, provenance.")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=Name("backbones", "models"))
@click.option("--all", "every", is_flag=True, help="Every backbone and model of the zoo, also those not verified yet.")
@click.option("-o", "--output", type=Folder(), metavar="DIR", default=Path("report"), show_default=True, help="Folder for the page.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set, where it is not beside the manifest.")
@click.option("--device", help="cpu, cuda, cuda:N or mps, for the pictures of images.  [default: a GPU if there is one]")
@click.option("--no-images", is_flag=True, help="Leave out the pictures of images; then no model runs.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@click.pass_obj
def report(
    choice: Choice, names: tuple[str, ...], every: bool, output: Path, data: Path | None, device: str | None, no_images: bool, as_json: bool
) -> None:
    """Make a page of what `segzoo verify` proved: by default of all entries that have a receipt.

    OUTPUT/index.html needs no other file and no network, follows light or dark, and prints; OUTPUT/report.md is the
    same as Markdown, with its pictures in OUTPUT/pictures. Verdicts, reported against measured mIoU with intervals,
    IoU of each class, the worst confusions, torch against JAX layer by layer, provenance, a line that reproduces
    each receipt; and the best, the median and the worst image, for which the model runs on these three again.

    \b
    Examples:
      segzoo --zoo mini verify --all && segzoo --zoo mini report
      segzoo report vit-t-mask vit-s-mask --data ADEChallengeData2016 -o report/
    """
    from importlib.util import find_spec

    from segzoo.atomic import replacing
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.cli.terminal.show import counted, show, tell

    for module in ("matplotlib", "jinja2", "torch"):
        if find_spec(module) is None:
            raise EnvironmentFault(f"{module} is not installed", hint="pip install 'segzoo[eval,report]'")
    from segzoo.cli.commands.receipt import none_yet
    from segzoo.publishing.report import plots
    from segzoo.publishing.report.facts import gather
    from segzoo.publishing.report.page import MADE, Illustrated, Picture, render
    from segzoo.text import legible
    from segzoo.zoo.names import resolve

    zoo = choice.load()
    manifest = zoo.manifest
    kept = [name for name in manifest.entries if zoo.receipt_of(name).is_file()]
    if not (names or every or kept):
        raise none_yet(zoo)
    entries = resolve(zoo, names or (() if every else kept), every, manifest.entries)
    before = output / "index.html"
    if before.is_file() and MADE not in before.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{before}: there is another page of this name", hint="name another folder: -o DIR")
    sections = []
    for name, entry in entries.items():
        dataset = manifest.datasets[manifest.models[name].protocol.dataset] if name in manifest.models else None
        record, broken = _record(zoo.receipt_of(name))
        sections.append(gather(name, entry, dataset, record, choice.option, broken))
    illustrated = []
    with work_progress("entries", len(sections)) as done:
        for section in sections:
            drawn = plots.parity(section)
            curve = Picture(f"{section.name}-parity.svg", PARITY, drawn) if drawn else None
            examples, missing = ([], "left out, as asked") if no_images else _examples(section, zoo, data, device)
            illustrated.append(Illustrated(section, curve, examples, missing))
            done()
    drawn = plots.figures(sections)
    overview = Picture("miou.svg", OVERVIEW, drawn) if drawn else None
    html, markdown = render(illustrated, overview, zoo.label, plots.themed)
    for picture in [*(picture for one in illustrated for picture in one.pictures), *([overview] if overview else [])]:
        with replacing(output / "pictures" / picture.file) as part:
            part.write_bytes(picture.jpeg if picture.jpeg is not None else plots.plain(picture.svg or "").encode())
    for page, text in (("report.md", markdown), ("index.html", html)):
        with replacing(output / page) as part:
            part.write_text(legible(text), encoding="utf-8")
    code = IntegrityError.exit_code if any(section.broken for section in sections) else 0
    if as_json:
        verdicts = {section.name: section.verdict for section in sections}
        show_json({"page": str(output / "index.html"), "markdown": str(output / "report.md"), "verdicts": verdicts}, code)
        raise SystemExit(code)
    for section in sections:
        show(f"{section.name}: {section.verdict}", style={"good": "green", "bad": "bold red", "open": "yellow"}[section.kind])
    for one in illustrated:
        if one.missing and one.section.scores and not no_images:
            tell(f"{one.section.name}: no pictures of images: {one.missing}", style="yellow")
    show(f"{output / 'index.html'}: {counted(len(sections), 'entry', 'entries')}; the same as Markdown in report.md")
    for section in sections:
        for sentence in section.broken:
            show(f"{section.name}: {sentence}", style="red", err=True)
    raise SystemExit(code)


def _record(path: Path) -> tuple[Mapping[str, Any] | None, list[str]]:
    """A receipt, None where there is none that holds, and what in it is broken."""
    from segzoo.evidence.receipt import read
    from segzoo.evidence.recheck import recheck

    if not path.is_file():
        return None, []
    try:
        broken = [f"{one.what}: {one.detail}" for one in recheck(path) if one.status == "broken"]
    except IntegrityError as error:
        return None, [f"{error.message}; {error.hint}"]
    return (None if broken else read(path)), broken


OVERVIEW = (
    "A dot is what was measured, the line through it the 95 % interval for the figure of all images where only some were measured; the bar "
    "is the reported figure with the points that may lie between the two."
)
PARITY = (
    "The largest difference between the torch model and the JAX reference after each step of the forward pass, relative to the largest value. "
    "Dotted: what the number type resolves; dashed: what the rung allows."
)


def _examples(section: Section, zoo: Zoo, data: Path | None, device: str | None) -> tuple[list[Example], str | None]:
    """The best, median and worst image of the first mode, or why there are none."""
    if not section.scores:
        return [], "no image was evaluated"
    from segzoo.errors import Skip
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.evaluation.precision import device_of
    from segzoo.publishing.report.examples import PANELS, extremes, look
    from segzoo.publishing.report.page import Example, Picture
    from segzoo.zoo.data import all_samples
    from segzoo.zoo.loading import loaded

    entry, score = zoo.manifest.models[section.name], section.scores[0]
    dataset = zoo.manifest.datasets[entry.protocol.dataset]
    examples = []
    try:
        folder, everything = all_samples(entry.protocol.dataset, dataset, zoo.base, zoo.store, data)
        found = {sample.name: sample for sample in everything}
        model = loaded(section.name, zoo).module
        evaluator = Evaluator(model, entry.protocol, entry.head.classes, device_of(device or best_device()), section.precision)
        for which, image in extremes(score.per_image).items():
            if image not in found:
                return [], f"{folder} has no {image}: it is another data set than the receipt's"
            seen = look(evaluator, found[image], which, score.per_image[image], dataset.classes, score.mode)
            caption = f"{which}: {image}, mIoU {seen.iou:.2f} over the classes in it, {seen.wrong:.2f} % of its pixels wrong"
            caption += "" if seen.same else "; seen again, its counts are not quite those of the receipt"
            files = [f"{section.name}-{which}-{panel}.jpg" for panel in PANELS]
            panels = [Picture(file, panel, jpeg=jpeg) for file, panel, jpeg in zip(files, PANELS, seen.panels, strict=True)]
            examples.append(Example(which, caption, panels, seen.classes))
    except (SegzooError, Skip) as problem:
        return [], str(problem)
    return examples, None
