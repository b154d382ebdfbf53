"""`segzoo predict`: images of the user's own, segmented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from segzoo.cli.completion import ZooName, with_files
from segzoo.cli.options import Choice, config_option, network_options
from segzoo.cli.output import OutputFolder
from segzoo.errors import EnvironmentFault, UsageError
from segzoo.vocabulary import MODES, PRECISIONS, SERVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from segzoo.cli.terminal.predicted import Told
    from segzoo.datasets.classes import Classes
    from segzoo.datasets.inputs import Inputs
    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.publishing.pictures import Wanted
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
@config_option
@click.option("--mode", type=click.Choice(MODES), default="ss", show_default=True, help="How the image is evaluated.")
@click.option("--device", help="cpu, cuda, cuda:N or mps.  [default: a GPU if there is one]")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="What the network computes in.")
@click.option("--original", is_flag=True, help="Put the image itself beside its overlay.")
@click.option("--as", "server", type=click.Choice(SERVERS), help="Only NAME.png, for this benchmark's server: values + 1, or label ids.")
@click.option("--csv", "as_csv", is_flag=True, help="Print pixels and share of each class as CSV, a ' before what is a formula.")
@click.option("--json", "as_json", is_flag=True, help="Print the share of each class as JSON.")
@network_options
@click.pass_obj
def predict(
    choice: Choice,
    arguments: tuple[str, ...],
    output: Path,
    compare: tuple[str, str] | None,
    like: str | None,
    config: Path | None,
    mode: str,
    device: str | None,
    precision: str,
    original: bool,
    server: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Segment images with a model of the zoo, or with a checkpoint of your own.

    MODEL is a name in the zoo or a checkpoint in any layout that holds a Segmenter. IMAGE is a file, a folder with
    all that is below it, a pattern such as 'photos/*.jpg', or - for a list on stdin. For each image the output folder
    gets NAME.labels.png, whose values are the class indices (8 bits, or 16 beyond 255 classes), and
    NAME.overlay.png, tinted by class with a legend. Folders below a folder are mirrored. If one image cannot be read,
    the others are still segmented.

    \b
    Examples:
      segzoo predict vit-b-mask street.jpg
      segzoo predict work_dirs/latest.pth photos/ -o out/
      segzoo predict --compare vit-t-mask vit-s-mask photos/*.jpg
      segzoo predict vit-b-mask images/testing --as ade20k -o submission/
    """
    from segzoo.cli.terminal.predicted import Told
    from segzoo.cli.terminal.progress import work_progress
    from segzoo.cli.terminal.show import tell
    from segzoo.datasets.inputs import targets_of
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.precision import device_of
    from segzoo.publishing.compare import pairing
    from segzoo.publishing.label_map import fitting
    from segzoo.publishing.pictures import Wanted
    from segzoo.publishing.totals import Totals

    _refuse_together(compare=compare, server=server, original=original, as_json=as_json, as_csv=as_csv)
    names, found = _named(arguments, compare, output)
    targets = targets_of({path: Path(path.name) for path in found.places} if server else found.places, output)
    zoo = choice.open()
    at = device_of(device or best_device())
    models = [_loaded(name, zoo, like, config) for name in names]
    wanted = Wanted([(model.name, model.classes) for model in models], original, server)
    for said in (server and fitting(server, models[0].classes), compare and pairing([model.classes for model in models])):
        if said:
            tell(said)
    running = [(_evaluator(model, at, precision), model.classes) for model in models]
    assumed = {model.name: [*model.apart, *model.assumed] for model in models}
    told = Told(Totals(wanted.models), assumed, as_json, as_csv)
    with work_progress("images", len(targets)) as done:
        for path, target in targets.items():
            _segment(path, target, running, mode, wanted, told)
            done()
    told.end(found, output)


def _refuse_together(**given: Any) -> None:
    """Raises UsageError for options that exclude each other."""
    spelt = {"compare": "--compare", "server": "--as", "original": "--original", "as_json": "--json", "as_csv": "--csv"}
    for one, other in (("compare", "server"), ("compare", "original"), ("server", "original"), ("as_json", "as_csv")):
        if given[one] and given[other]:
            raise UsageError(f"{spelt[one]} and {spelt[other]} exclude each other", hint="give one of them, or run the command twice")


def _named(arguments: tuple[str, ...], compare: tuple[str, str] | None, output: Path) -> tuple[tuple[str, ...], Inputs]:
    """The models and the images that arguments name."""
    from segzoo.cli.images import named
    from segzoo.datasets.inputs import inputs

    if not (compare or arguments):
        raise UsageError("no model and no image named", hint="segzoo predict MODEL IMAGE..., or segzoo predict --compare A B IMAGE...")
    if compare and not arguments:
        raise UsageError("--compare takes two models, and after them come the images", hint="segzoo predict --compare A B IMAGE...")
    return compare or arguments[:1], inputs(named(arguments if compare else arguments[1:]), output)


def _loaded(name: str, zoo: Zoo, like: str | None, config: Path | None) -> Loaded:
    """A model. What is assumed of a file of the user's own is told, and where it contradicts the zoo."""
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.cli.terminal.show import tell
    from segzoo.zoo.loading import loaded

    with byte_progress(name) as said:
        model = loaded(name, zoo, like, said, config)
    if model.like not in (None, name):
        tell(f"{name}: taken for {model.like}, where it does not say otherwise")
    for note in model.assumed:
        tell(f"{name}: {note}")
    for contradiction in model.apart:
        tell(f"{name}: {contradiction}", style="yellow")
    return model


def _evaluator(model: Loaded, at: torch.device, precision: str) -> Evaluator:
    from segzoo.cli.terminal.show import tell
    from segzoo.evaluation.evaluator import Evaluator

    return Evaluator(model.module, model.protocol, len(model.classes), at, precision, tell)


def _segment(path: Path, target: Path, models: Sequence[tuple[Evaluator, Classes]], mode: str, wanted: Wanted, told: Told) -> None:
    """Segment one image and save what is wanted of it. What fails is told, and does not keep the next image from being segmented."""
    from segzoo.cli.terminal.show import tell
    from segzoo.evaluation.prediction import predict_file
    from segzoo.publishing.pictures import save

    try:
        image, found = predict_file(path, models, mode, lambda note: tell(f"{path.name}: {note}"))
    except EnvironmentFault as error:
        told.failed(path, error)
    else:
        told.saved(path, found, *save(image, found, target, wanted))
