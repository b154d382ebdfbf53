"""`segzoo predict`: images of the user's own, segmented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from segzoo.cli.completion import ZooName, with_files
from segzoo.cli.options import Choice, network_options
from segzoo.cli.output import OutputFolder
from segzoo.errors import EnvironmentFault, UsageError
from segzoo.vocabulary import MODES, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy import ndarray

    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.evaluation.prediction import Prediction
    from segzoo.zoo.loading import Loaded
    from segzoo.zoo.zoo import Zoo


class ModelThenImages(ZooName):
    """After the model, or the two of --compare, the shell completes files only."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if ctx.params.get("arguments") or ctx.params.get("compare"):
            return with_files(incomplete, [])
        return super().shell_complete(ctx, param, incomplete)


@click.command(short_help="Segment images: overlays with a legend, label maps, class shares.")
@click.argument("arguments", nargs=-1, metavar="MODEL IMAGE...", type=ModelThenImages("models", or_file=True))
@click.option("-o", "--output", type=OutputFolder(), metavar="DIR", default=Path("predictions"), show_default=True, help="Folder for the pictures.")
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    type=ZooName("models", or_file=True),
    help="Two models side by side; all other arguments are then images.",
)
@click.option(
    "--like",
    metavar="NAME",
    type=ZooName("models"),
    help="The model of the zoo that your own file is like.",
)
@click.option("--mode", type=click.Choice(MODES), default="ss", show_default=True, help="How the image is evaluated.")
@click.option("--device", help="cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="What the network computes in.")
@click.option("--json", "as_json", is_flag=True, help="Print the share of each class as JSON.")
@network_options
@click.pass_obj
def predict(
    choice: Choice,
    arguments: tuple[str, ...],
    output: Path,
    compare: tuple[str, str] | None,
    like: str | None,
    mode: str,
    device: str | None,
    precision: str,
    as_json: bool,
) -> None:
    """Segment images with a model of the zoo, or with a checkpoint of your own.

    MODEL is a name in the zoo or a checkpoint in any layout that holds a Segmenter. IMAGE is a file, a folder, a
    pattern such as 'photos/*.jpg', or - for a list on stdin. For each image the output folder gets
    NAME.overlay.png, tinted by class with a legend, and NAME.labels.png, whose values are the class indices. If
    one image cannot be read, the others are still segmented.

    \b
    Examples:
      segzoo predict vit-b-mask street.jpg
      segzoo predict work_dirs/latest.pth photos/ -o out/
      segzoo predict --compare vit-t-mask vit-s-mask photos/*.jpg
    """
    from segzoo.cli.images import targets_of
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.failure import show_error
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.cli.terminal.show import show
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.precision import device_of

    names, paths = _named(arguments, compare)
    targets = targets_of(paths, output)
    zoo = choice.open()
    at = device_of(device or best_device())
    models = [_loaded(name, zoo, like) for name in names]
    evaluators = [_evaluator(model, at, precision) for model in models]
    records: list[dict[str, Any]] = []
    errors: list[EnvironmentFault] = []
    with work_progress("images", len(paths)) as done:
        for path in paths:
            try:
                image, found = _segmented(path, models, evaluators, mode)
            except EnvironmentFault as error:
                fault = error if str(path) in error.message else EnvironmentFault(f"{path}: {error.message}", error.hint)
                errors.append(fault)
                records.append({"image": str(path), "error": problem(fault)})
                show_error(fault)
            else:
                records.append(_saved(path, image, found, models, targets[path]))
                if not as_json:
                    show(f"{path.name}: {_in_words(records[-1])}")
            done()
    if as_json:
        show_json(records, *errors)
    _tell_the_end(len(paths), len(errors), output, as_json)
    if errors:
        raise SystemExit(EnvironmentFault.exit_code)


def _named(arguments: tuple[str, ...], compare: tuple[str, str] | None) -> tuple[tuple[str, ...], list[Path]]:
    """The models and the images that arguments name."""
    from segzoo.cli.images import images

    if not (compare or arguments):
        raise UsageError("no model and no image named", hint="segzoo predict MODEL IMAGE..., or segzoo predict --compare A B IMAGE...")
    if compare and not arguments:
        raise UsageError("--compare takes two models, and after them come the images", hint="segzoo predict --compare A B IMAGE...")
    given = arguments if compare else arguments[1:]
    return compare or arguments[:1], list(dict.fromkeys(images(given)))


def _loaded(name: str, zoo: Zoo, like: str | None) -> Loaded:
    """A model. If a file of the user's own was taken for a model of the zoo, that is told."""
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import tell
    from segzoo.zoo.loading import loaded

    with byte_progress(name) as said:
        model = loaded(name, zoo, like, said)
    if model.like != name:
        tell(f"{name}: taken for {model.like}, whose layout and geometry it has")
    return model


def _evaluator(model: Loaded, at: torch.device, precision: str) -> Evaluator:
    from segzoo.cli.terminal.show import tell
    from segzoo.evaluation.evaluator import Evaluator

    return Evaluator(model.module, model.protocol, len(model.classes), at, precision, tell)


def _segmented(path: Path, models: Sequence[Loaded], evaluators: Sequence[Evaluator], mode: str) -> tuple[ndarray, list[Prediction]]:
    """An image, and what each model sees in it. Raises EnvironmentFault for an image that cannot be read or does not fit in memory."""
    from segzoo.datasets.decode import read_image
    from segzoo.evaluation.prediction import predict as segment

    image = read_image(path)
    return image, [segment(evaluator, image, model.classes, mode) for evaluator, model in zip(evaluators, models, strict=True)]


def _saved(path: Path, image: ndarray, found: Sequence[Prediction], models: Sequence[Loaded], target: Path) -> dict[str, Any]:
    """Save the pictures of an image, of one model or of two side by side, and give the facts for --json."""
    from segzoo.publishing.overlay import disagreement, index_map, overlay, side_by_side

    classes = [model.classes for model in models]
    record: dict[str, Any] = {"image": str(path), "height": image.shape[0], "width": image.shape[1]}
    if len(models) == 1:
        record["shares"] = found[0].shares
        _save(overlay(image, found[0], classes[0]), target, "overlay", record)
        _save(index_map(found[0].labels, classes[0]), target, "labels", record)
        return record
    record["shares"] = {model.name: one.shares for model, one in zip(models, found, strict=True)}
    record["differ_percent"] = disagreement(found, classes)
    _save(side_by_side(image, found, [Path(model.name).stem for model in models], classes), target, "compared", record)
    return record


def _tell_the_end(number: int, failed: int, output: Path, as_json: bool) -> None:
    """How many images were done, and where their pictures are."""
    from segzoo.cli.terminal.show import counted, tell

    place = f"; pictures in {output}{'' if str(output).endswith('/') else '/'}"
    if failed:
        tell(f"{number - failed} of {counted(number, 'image')} done{place if failed < number else ''}")
    elif not as_json:
        tell(f"{counted(number, 'image')} segmented{place}")


def _in_words(record: dict[str, Any]) -> str:
    """The facts of an image in one line."""
    if "differ_percent" in record:
        return f"they differ in {record['differ_percent']:.2f} %"
    return ", ".join(f"{name} {share:.1f} %" for name, share in list(record["shares"].items())[:5])


def _save(picture: Any, target: Path, kind: str, record: dict[str, Any]) -> None:
    from segzoo.atomic import replacing

    path = target.with_name(f"{target.name}.{kind}.png")
    with replacing(path) as part:
        picture.save(part, format="PNG")
    record[kind] = str(path)
