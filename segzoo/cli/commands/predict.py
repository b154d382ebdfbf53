"""`segzoo predict`: what a model sees in one's own images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from segzoo.cli.completion import OutputFolder, ZooName, with_files
from segzoo.cli.options import Choice, network_options
from segzoo.cli.terminal.failure import show_error
from segzoo.errors import EnvironmentFault, NotFoundError, UsageError
from segzoo.vocabulary import IMAGES, MODES, PRECISIONS


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
    help="Two models side by side; then only images follow.",
)
@click.option(
    "--like",
    metavar="NAME",
    type=ZooName("models"),
    help="The model of the zoo that a file of your own is like.",
)
@click.option("--mode", type=click.Choice(MODES), default="ss", show_default=True, help="How the image is seen.")
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

    MODEL is a name in the zoo or a checkpoint in any layout that holds a Segmenter; IMAGE a file, a folder, a
    pattern such as 'photos/*.jpg', or - for a list on stdin. For each image the output folder gets
    NAME.overlay.png, tinted by class with a legend, and NAME.labels.png, whose values are the class indices. An
    image that cannot be read does not keep the rest from being segmented.

    \b
    Examples:
      segzoo predict vit-b-mask street.jpg
      segzoo predict work_dirs/latest.pth photos/ -o out/
      segzoo predict --compare vit-t-mask vit-s-mask photos/*.jpg
    """
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.progress import byte_progress, work_progress
    from segzoo.cli.terminal.show import counted, show, tell
    from segzoo.datasets.decode import read_image
    from segzoo.evaluation.device import best_device
    from segzoo.evaluation.evaluator import Evaluator
    from segzoo.evaluation.precision import device_of
    from segzoo.publishing.overlay import compared, disagreement, index_map, overlay
    from segzoo.publishing.overlay import predict as segment
    from segzoo.zoo.loading import loaded

    if not (compare or arguments):
        raise UsageError("no model and no image named", hint="segzoo predict MODEL IMAGE..., or segzoo predict --compare A B IMAGE...")
    if compare and not arguments:
        raise UsageError("--compare takes two models, and after them come the images", hint="segzoo predict --compare A B IMAGE...")
    names = compare or arguments[:1]
    paths = list(dict.fromkeys(images(arguments if compare else arguments[1:])))
    targets = _targets(paths, output)
    zoo = choice.open()
    at = device_of(device or best_device())
    models = []
    for name in names:
        with byte_progress(name) as said:
            models.append(loaded(name, zoo, like, said))
        if models[-1].like != name:
            tell(f"{name}: taken for {models[-1].like}, whose layout and geometry it has")
    evaluators = [Evaluator(one.module, one.protocol, len(one.classes), at, precision, tell) for one in models]
    records: list[dict[str, Any]] = []
    failed: list[EnvironmentFault] = []
    with work_progress("images", len(paths)) as done:
        for path in paths:
            try:
                image = read_image(path)
                found = [segment(evaluator, image, one.classes, mode) for evaluator, one in zip(evaluators, models, strict=True)]
            except EnvironmentFault as error:
                named = str(path) in error.message
                fault = error if named else EnvironmentFault(f"{path}: {error.message}", error.hint)
                failed.append(fault)
                records.append({"image": str(path), "error": problem(fault)})
                show_error(fault)
                done()
                continue
            record: dict[str, Any] = {"image": str(path), "height": image.shape[0], "width": image.shape[1]}
            if compare:
                record |= {"shares": {name: one.shares for name, one in zip(names, found, strict=True)}}
                record["differ_percent"] = disagreement(found, [one.classes for one in models])
                picture = compared(image, found, [Path(name).stem for name in names], [one.classes for one in models])
                _save(picture, targets[path], "compared", record)
            else:
                record["shares"] = found[0].shares
                _save(overlay(image, found[0], models[0].classes), targets[path], "overlay", record)
                _save(index_map(found[0].labels, models[0].classes), targets[path], "labels", record)
            records.append(record)
            done()
            if not as_json:
                show(f"{path.name}: {_in_words(record)}")
    code = min((error.exit_code for error in failed), default=0)
    if as_json:
        show_json(records, code)
    place = f"; pictures in {output}{'' if str(output).endswith('/') else '/'}"
    if failed:
        tell(f"{len(paths) - len(failed)} of {counted(len(paths), 'image')} done{place if len(failed) < len(paths) else ''}")
        raise SystemExit(code)
    if not as_json:
        tell(f"{counted(len(paths), 'image')} segmented{place}")


def _in_words(record: dict[str, Any]) -> str:
    """What was found in an image, in one line."""
    if "differ_percent" in record:
        return f"they differ in {record['differ_percent']:.2f} %"
    return ", ".join(f"{name} {share:.1f} %" for name, share in list(record["shares"].items())[:5])


def images(given: Iterable[str]) -> Iterator[Path]:
    """The files that arguments name: files, all images of a folder, patterns, or a list on stdin for -."""
    named = list(given)
    if not named:
        raise UsageError("no image named", hint="segzoo predict MODEL IMAGE..., where - reads a list of images from stdin")
    for name in named:
        if name == "-":
            yield from images(_listed())
            continue
        path = Path(name)
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if one.suffix.lower() in IMAGES and one.is_file() and not one.name.startswith("."))
        elif path.is_file():
            found = [path]
        elif any(sign in name for sign in "*?["):
            anchor = Path(path.anchor) if path.is_absolute() else Path()
            found = sorted(one for one in anchor.glob(str(path.relative_to(path.anchor) if path.is_absolute() else path)) if one.is_file())
        else:
            raise NotFoundError(f"{name}: no such image", hint="or is it the model? it comes first: segzoo predict MODEL IMAGE...")
        if not found:
            raise NotFoundError(f"{name}: no images there", hint=f"images end in {', '.join(IMAGES)}")
        yield from found


def _listed() -> list[str]:
    """The list on stdin."""
    lines = [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise UsageError("the list of images on stdin is empty", hint="- reads one name a line: ls photos/*.jpg | segzoo predict MODEL -")
    return lines


def _targets(paths: list[Path], output: Path) -> dict[Path, Path]:
    """Where the pictures of each image go, without a suffix; images of one name keep their suffix to stay apart."""
    stems = [path.stem for path in paths]
    targets = {path: output / (path.stem if stems.count(path.stem) == 1 else path.name.replace(".", "_")) for path in paths}
    first: dict[Path, Path] = {}
    for path, target in targets.items():
        if target in first:
            raise UsageError(
                f"{first[target]} and {path}: the pictures of both would be {target}.*",
                hint="segment them in two runs, each with a folder of its own: -o DIR",
            )
        first[target] = path
    return targets


def _save(picture: Any, target: Path, kind: str, record: dict[str, Any]) -> None:
    from segzoo.atomic import replacing

    path = target.with_name(f"{target.name}.{kind}.png")
    with replacing(path) as part:
        picture.save(part, format="PNG")
    record[kind] = str(path)
