"""`segzoo score`: saved label maps against the labels of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(short_help="Score saved label maps against a data set: mIoU, Dice, F-score and more.")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="NAME|DIR", type=ZooName("datasets", or_file=True), help="A data set of the zoo, or its folder.")
@click.option("--like", metavar="NAME", type=ZooName("datasets"), help="The data set of the zoo whose folder DIR is.")
@click.option("--split", metavar="NAME", help="Another split of the data set.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.pass_obj
def score(choice: Choice, predictions: Path, data: str, like: str | None, split: str | None, as_json: bool) -> None:
    """Score the label maps in a folder, whoever made them: values are class indices from 0, files are called as their images.

    NAME.png, or NAME.labels.png as `segzoo predict` writes it, in the folders of the images or all in one. The figures
    are those of MMSegmentation's IoUMetric with mIoU, mDice and mFscore. A folder that no manifest describes is taken
    as `segzoo data check DIR` proposes, if its labels leave no doubt.

    \b
    Examples:
      segzoo predict vit-b-mask ADEChallengeData2016/images/validation -o out/
      segzoo score out/ --data ADEChallengeData2016 --like ade20k
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.cli.terminal.show import counted, tell
    from segzoo.datasets.misfits import misfits
    from segzoo.datasets.pairs import samples
    from segzoo.datasets.predictions import largest
    from segzoo.datasets.predictions import predictions as find
    from segzoo.datasets.survey import survey
    from segzoo.evaluation.scores import per_class, summary
    from segzoo.evaluation.scores import score as count
    from segzoo.zoo.data import named_data

    named = named_data(data, choice.open(), like, split)
    names = list(named.dataset.classes)
    found = samples(named.dataset.loads, named.folder, named.dataset.split, named.dataset.images)
    paths, others = find(predictions, found)
    if named.proposed and (doubt := named.proposed.doubt(largest(paths, found))):
        raise EnvironmentFault(f"{data}: {doubt}", hint=f"segzoo data check {data} proposes an entry: put it in a manifest, mend it, name it")
    remarks = list(misfits(survey(found), names, whole=True))
    for one in remarks:
        if one.certain:
            raise one.fault
    with work_progress("images", len(found)) as done:
        counts = count(found, paths, len(names), done)
    figures = summary(counts)
    rows = {name: {kind: _finite(values[index]) for kind, values in per_class(counts).items()} for index, name in enumerate(names)}
    said = [*named.assumed, *(one.said for one in remarks)]
    if (accuracy := figures["aAcc"]) is not None and accuracy < 1:
        said.append("aAcc under 1 %: predictions and labels hardly ever agree, so look whether both mean the same classes")
    if others:
        said.append(f"{counted(len(others), 'label map')} of no image in the data set, the first {others[0]}")
    if as_json:
        show_json({"data": named.name, "split": named.dataset.split, "images": len(found), "metrics": figures, "per_class": rows, "remarks": said})
        return
    _show(figures, rows)
    for sentence in said:
        tell(sentence, style="yellow")
    tell(f"{counted(len(found), 'image')} of {named.name}, {named.dataset.split}")


def _finite(value: Any) -> float | None:
    return None if value != value else round(float(value), 2)  # NaN is no number of JSON


def _show(figures: Mapping[str, float | None], rows: Mapping[str, Mapping[str, float | None]]) -> None:
    """The figures of each class, and their means."""
    from segzoo.cli.terminal.show import show
    from segzoo.text import brief

    kinds = ["IoU", "Acc", "Dice", "Fscore", "Precision", "Recall"]
    named = {brief(name, 60): row for name, row in rows.items()}
    width = max(map(len, [*named, "class"]))
    show("  ".join(["class".ljust(width), *(kind.rjust(9) for kind in kinds)]), style="bold")
    for name, row in named.items():
        show("  ".join([name.ljust(width), *(_spelt(row[kind]).rjust(9) for kind in kinds)]))
    show("  ".join(["mean".ljust(width), *(_spelt(figures[f"m{kind}"]).rjust(9) for kind in kinds)]), style="bold")
    show(f"mIoU {_spelt(figures['mIoU'])}, aAcc {_spelt(figures['aAcc'])}, mAcc {_spelt(figures['mAcc'])}")


def _spelt(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
