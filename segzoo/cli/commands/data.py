"""`segzoo data`: a data set of the user's own, looked at and described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice
from segzoo.cli.output import OutputFolder
from segzoo.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.group(short_help="Look at a data set of your own, and describe it for a manifest.")
def data() -> None:
    """A data set of your own: what is in it, what does not fit, and how a manifest describes it."""


@data.command(short_help="Say what is in a data set, and what does not fit.")
@click.argument("source", metavar="NAME|DIR", type=ZooName("datasets", or_file=True))
@click.option("--like", metavar="NAME", type=ZooName("datasets"), help="The data set of the zoo whose folder DIR is.")
@click.option("--split", metavar="NAME", help="Another split of the data set.")
@click.option("--pictures", type=OutputFolder(), metavar="DIR", help="Draw twelve images with their labels into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def check(choice: Choice, source: str, like: str | None, split: str | None, pictures: Path | None, as_json: bool) -> None:
    """Decode every image and label map: pairs, sizes, modes, the values that occur with their share, the frequency of each class.

    For a folder that no manifest describes, the entry of a manifest is proposed. Paste it below `datasets:` of a
    zoo.yaml beside the folder, and give the classes their names. Exit 8 if anything does not fit.

    \b
    Examples:
      segzoo data check my_scenes/ --pictures seen/
      segzoo data check ADEChallengeData2016 --like ade20k
    """
    from segzoo.cli.terminal.answer import show_json
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.zoo.data import named_data
    from segzoo.zoo.own.examine import examine_data

    named = named_data(source, choice.open(), like, split)
    with work_progress("pairs", max(named.dataset.images, 1)) as done:
        pairs, facts = examine_data(named, done)
    if pictures is not None and not facts["wrong"]:
        from segzoo.publishing.pairs import draw_pairs

        facts["pictures"] = [str(path) for path in draw_pairs(pairs, named.dataset.classes, pictures)]
    errors = [EnvironmentFault(f"{named.folder}: {one['message']}", one["hint"]) for one in facts["wrong"]]
    if as_json:
        show_json(facts, *errors)
    else:
        _show(facts)
        _tell(facts, pictures)
    raise SystemExit(EnvironmentFault.exit_code if errors else 0)


def _show(facts: Mapping[str, Any]) -> None:
    """What is in the data set."""
    from segzoo.cli.terminal.show import show
    from segzoo.text import brief

    show(f"{facts['folder']}: {facts['images']} images in '{facts['split']}', {facts['pairs']} sound pairs", style="bold")
    if sizes := facts["sizes"]:
        first, last, most = ("x".join(map(str, sizes[which])) for which in ("smallest", "largest", "most_common"))
        show(f"sizes: {first} to {last}, {sizes['different']} different, most often {most}")
    for what in ("image", "label"):
        show(f"{what}s: " + ", ".join(f"{mode} ({count})" for mode, count in facts[f"{what}_modes"].items()))
    show(f"values: {facts['different_values']} different, {facts['ignored_percent']:.2f} % of the pixels are ignored")
    for row in facts["values"]:
        show(f"  {row['value']:>7}  {row['percent']:8.4f} %  {row['means']}")
    show(f"classes: {len(facts['classes'])}")
    named = [brief(row["class"], 60) for row in facts["classes"]]
    width = max(map(len, named))
    for name, row in zip(named, facts["classes"], strict=True):
        show(f"  {name:<{width}}  {row['percent']:8.4f} %  in {row['images']} images")


def _tell(facts: Mapping[str, Any], pictures: Path | None) -> None:
    """What does not fit, what was assumed, and the entry that is proposed."""
    from segzoo.cli.terminal.show import counted, show, tell

    for one in facts["wrong"]:
        show(f"wrong: {one['message']}", style="red")
        if one["hint"]:
            show(f"  hint: {one['hint']}")
    for sentence in [*facts["remarks"], *facts["assumed"]]:
        show(f"note: {sentence}", style="yellow")
    if facts["entry"]:
        for line in ("", "datasets:", *facts["entry"].split("\n")):
            show(line)
    if "pictures" in facts:
        tell(f"{counted(len(facts['pictures']), 'picture')} in {pictures}")
    elif pictures is not None:
        tell("no pictures were drawn: first mend what is wrong")
