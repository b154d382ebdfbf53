"""How a report comes about: receipts are read, plots are drawn, some images of each model are predicted again, and the page is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing
from segzoo.datasets.pairs import digest
from segzoo.errors import IntegrityError, NotFoundError, SegzooError, Skip, UsageError
from segzoo.evaluation.device import best_device
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.precision import device_of
from segzoo.evidence.recheck import checked
from segzoo.manifest.entries import Entry
from segzoo.publishing.report import beside, plots
from segzoo.publishing.report.examples import PANELS, extremes, see_again
from segzoo.publishing.report.facts import Score, Section, gather
from segzoo.publishing.report.heading import Heading
from segzoo.publishing.report.page import GENERATOR, Example, Illustrated, Picture, Together, render
from segzoo.zoo.data import all_samples, data_set_of
from segzoo.zoo.likely_size import parameters
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import Zoo

_PARITY = (
    "The largest difference between the torch model and the JAX reference after each step of the forward pass, relative to the largest value. "
    "Dotted: what the number type resolves; dashed: what the rung allows."
)
_MATRIX = (
    "A row has the pixels of a labelled class, a column what they were predicted as, each row in percent of itself. Blue is right, orange is wrong; "
    "how strong a colour is grows with the square root of the share, so that small shares are seen. A row without a labelled pixel is empty."
)


@dataclass(frozen=True)
class Files:
    """The paths of the two forms of the page."""

    html: Path
    markdown: Path


def refuse_other_page(folder: Path) -> None:
    """Raises UsageError where the folder has an index.html that segzoo did not make."""
    page = folder / "index.html"
    if page.is_file() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page}: there is another page of this name", hint="name another folder: -o DIR")


def section_of(name: str, entry: Entry, zoo: Zoo, zoo_option: str, called: str = "") -> Section:
    """The facts of an entry from its receipt. An invalid receipt gives no facts, and is called broken.

    `called` is what a person types after `segzoo verify` for it, if that is not its name.
    """
    models = zoo.manifest.models
    classes = list(zoo.manifest.classes_of(models[name])) if name in models else []
    record, broken = _receipt(zoo.receipt_of(name), classes)
    section = gather(name, entry, classes, record, zoo_option, broken, called)
    return replace(section, parameters=parameters(entry)) if name in models else section


def _receipt(path: Path, classes: Sequence[str]) -> tuple[Mapping[str, Any] | None, list[str]]:
    """A receipt, and what is broken in it. The receipt is None where it is missing or broken."""
    try:
        return checked(path, path.stem, classes=classes), []
    except NotFoundError:
        return None, []
    except IntegrityError as error:
        return None, [f"{error.message}; {error.hint}"]


def illustrate(section: Section, zoo: Zoo, data: Path | None, device: str | None, images: bool, worst: int = 1) -> Illustrated:
    """A section with its plots and, if `images` is True, with pictures of its best, its median and its `worst` worst images."""
    curve = _picture(f"{section.name}-parity.svg", _PARITY, plots.parity(section))
    matrix = _picture(f"{section.name}-confusion.svg", _MATRIX, plots.matrix(section.shown)) if section.shown else None
    if not images:
        return Illustrated(section, curve, [], "left out, as asked", matrix)
    if section.shown is None:
        return Illustrated(section, curve, [], "no image was evaluated", matrix)
    try:
        return Illustrated(section, curve, _examples(section, section.shown, zoo, data, device, worst), None, matrix)
    except (SegzooError, Skip) as problem:  # no data set or no weights here: the rest of the page needs neither
        return Illustrated(section, curve, [], str(problem), matrix)


def _against(file: str, cost: beside.Cost | None) -> Picture | None:
    return _picture(file, cost.caption, plots.against(cost)) if cost else None


def _picture(file: str, alt: str, svg: str | None) -> Picture | None:
    return Picture(file, alt, svg) if svg else None


def _examples(section: Section, score: Score, zoo: Zoo, data: Path | None, device: str | None, worst: int) -> list[Example]:
    """The best, the median and the worst images of the score that stands for the model, predicted again."""
    entry = zoo.manifest.models[section.name]
    named, classes = data_set_of(zoo.manifest, entry), zoo.manifest.classes_of(entry)
    folder, everything = all_samples(named, zoo.manifest.datasets[named], zoo.base, zoo.store, data)
    basis = section.checks["mIoU"]["basis"]
    if digest(everything) != basis["data_digest"]:
        raise Skip("no data", f"{folder} is another data set than the receipt's, or another state of it")
    samples = {sample.name: sample for sample in everything}
    model = loaded(section.name, zoo).module
    evaluator = Evaluator(model, entry.protocol, entry.labels, device_of(device or best_device()), section.precision)
    examples = []
    for which, image in extremes(score.per_image, worst).items():
        if image not in samples:
            raise Skip("no data", f"{folder} has no {image}: it is another data set than the receipt's")
        again = see_again(evaluator, samples[image], which, score.per_image[image], classes, score.mode)
        caption = f"{which}: {image}, mIoU {again.iou:.2f} over the classes in it, {again.wrong:.2f} % of its pixels wrong"
        caption += "" if again.same else "; seen again, its counts are not quite those of the receipt"
        files = [f"{section.name}-{which}-{panel}.jpg" for panel in PANELS]
        panels = [Picture(file, panel, jpeg=jpeg) for file, panel, jpeg in zip(files, PANELS, again.panels, strict=True)]
        examples.append(Example(which, caption, panels, again.classes))
    return examples


def overview(sections: Sequence[Section]) -> Picture | None:
    """The plot of figures. Its caption names what is in it; None where there are no two figures to compare."""
    drawn = plots.figures(sections)
    scores = [score for section in sections for score in section.scores]
    said = ["A dot is the mIoU that was measured"]
    if any(score.low is not None for score in scores):
        said.append("the line through it the 95 % interval for the figure of all images where only some were measured")
    if any(score.reported is not None for score in scores):
        said.append("the bar the reported figure with the points that may lie between the two")
    return _picture("miou.svg", "; ".join(said) + ".", drawn)


def write_page(illustrated: Sequence[Illustrated], heading: Heading, folder: Path) -> Files:
    """Write the page as HTML and as Markdown, and the pictures for the Markdown into `pictures/`."""
    sections = [one.section for one in illustrated]
    cost, reported = (_against(*of) for of in (("cost.svg", beside.cost(sections)), ("reported.svg", beside.reported(sections))))
    together = Together(overview(sections), cost, reported, beside.groups(sections))
    html, markdown = render(illustrated, together, heading, plots.themed)
    for picture in [*(picture for one in illustrated for picture in one.pictures), *together.pictures]:
        with replacing(folder / "pictures" / picture.file) as part:
            part.write_bytes(picture.jpeg if picture.jpeg is not None else plots.plain(picture.svg or "").encode())
    files = Files(folder / "index.html", folder / "report.md")
    for path, text in ((files.markdown, markdown), (files.html, html)):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    return files
