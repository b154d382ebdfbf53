"""`segzoo convert`: files of weights to another layout or format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segzoo.cli.completion import ZooName
from segzoo.cli.options import Choice, network_options
from segzoo.errors import EnvironmentFault, SegzooError, UsageError
from segzoo.layouts import LAYOUTS, NAMES, explicit
from segzoo.vocabulary import DTYPES, RESAMPLINGS, WEIGHTS

if TYPE_CHECKING:
    from segzoo.conversion.convert import Report


@dataclass(frozen=True)
class Job:
    """One conversion: what the user named, the file behind it, the file to write, and the heads where the manifest knows them.

    `layout` is that of a manifest where it has to be named.
    """

    source: str
    path: Path
    target: Path
    heads: int | None
    layout: str | None


def rows_by_columns(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The value of --grid."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", value)
    if not found:
        raise click.BadParameter(
            f"'{value}' is not {'a number, and not ' if parameter.name == 'positions' else ''}rows x columns of patches, such as 32x32"
        )
    return int(found[1]), int(found[2])


def number_or_grid(context: click.Context, parameter: click.Parameter, value: str | None) -> int | tuple[int, int] | None:
    """The value of --positions."""
    if value is None or not re.fullmatch(r"[1-9]\d{0,7}", value):
        return rows_by_columns(context, parameter, value)
    return int(value)


@click.command(short_help="Convert weights to another layout or file format.")
@click.argument("paths", nargs=-1, metavar="SRC... DST", type=ZooName("backbones", "models", or_file=True))
@click.option(
    "--to", metavar="LAYOUT", type=click.Choice(list(NAMES)), default="mmseg", show_default=True, help=f"Layout to write: {', '.join(NAMES)}."
)
@click.option("--from", "source_layout", metavar="LAYOUT", type=click.Choice(list(NAMES)), help="Layout of SRC.  [default: detected]")
@click.option("--at", metavar="NAME", help="Model to take from a SRC that holds several, such as teacher or model_ema.")
@click.option("--merge-lora", metavar="ADAPTER", type=click.Path(path_type=Path), help="Merge this LoRA adapter of peft's into SRC, its base.")
@click.option("--all", "every", is_flag=True, help="Every backbone of the zoo; DST is a folder.")
@click.option(
    "--drop", multiple=True, metavar="NAME", help="Leave out a section, such as classifier, or tensors by name or pattern; may be given again."
)
@click.option("--force-drop", is_flag=True, help="Let --drop leave out also what the forward pass may need.")
@click.option("--prefix", help="Prefix of the target's names, such as 'backbone.'.")
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads, if DST needs them and SRC does not show them.")
@click.option(
    "--positions",
    metavar="N|HxW",
    callback=number_or_grid,
    help="Positions of SRC's grid, if names and shapes do not show them; HxW if they are no square.",
)
@click.option("--grid", metavar="HxW", callback=rows_by_columns, help="Resample the position embeddings to this grid of patches.")
@click.option("--resample", type=click.Choice(RESAMPLINGS), help="How --grid resamples.  [default: mmseg]")
@click.option("--dtype", type=click.Choice(DTYPES), help="Round to another dtype.  [default: as in SRC]")
@click.option("--force", is_flag=True, help="Replace DST if it is another file; a link itself, not what it points to.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with the digest of every tensor.")
@network_options
@click.pass_obj
def convert(choice: Choice, /, paths: tuple[str, ...], every: bool, heads: int | None, as_json: bool, **options: Any) -> None:
    """Convert the weights in SRC, a file or a name in the zoo, and write them to DST.

    The format and the layout of SRC are read from its content; flax's msgpack is read too. The suffix of DST says its format: .pth
    (a bare state dict, as MMSegmentation reads it), .safetensors or .npz. If DST is a folder, each SRC
    gets a file in it. Tensors that the target layout has no place for are dropped, and counted; -v names them. DST is read
    back and compared before it appears. A DST that holds just what would be written stays as it is.

    Numbers are moved, never computed, unless --grid, --dtype or --merge-lora ask for it. Published code resamples
    position embeddings in ways that differ: mmseg (bicubic), timm (bilinear; its npz loader, and
    rstrudel/segmenter), jax (bilinear, corners aligned; vit_jax), antialias (timm's state dicts).

    \b
    Examples:
      segzoo convert Ti_16-i21k-...-res_384.npz pretrain/vit_tiny_p16_384.pth
      segzoo convert vit-t vit_tiny.safetensors --to timm
      segzoo convert --all pretrain/
    """
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing is multiplied here; a thread a core costs more than a small file
    from segzoo.cli.terminal.answer import problem, show_json
    from segzoo.cli.terminal.failure import show_error

    if options["resample"] and not options["grid"]:
        raise UsageError("--resample says how to resample to --grid HxW, which is not given")
    options["resample"] = options["resample"] or "mmseg"
    sources, target, folder = _arguments(choice, paths, every)
    if options["merge_lora"] and len(sources) != 1:
        raise UsageError("--merge-lora goes with one SRC, the base that the adapter was trained on")
    results: list[dict[str, Any]] = []
    errors: list[SegzooError] = []
    last: Report | None = None
    taken: dict[Path, str] = {}
    for source in sources:
        try:
            job = _job(choice, source, target, folder, options["to"], every)
            _refuse_taken(job, taken)
            last = _converted(
                job, heads if heads is not None else job.heads, as_json, options | {"source_layout": options["source_layout"] or job.layout}
            )
        except SegzooError as error:
            if not folder or isinstance(error, EnvironmentFault):
                raise
            errors.append(error)
            results.append({"source": source, "error": problem(error)})
            show_error(error)
            continue
        results.append(_facts(source, last))
        if not as_json:
            _show(source, last)
    if as_json:
        show_json(results, *errors)
    elif last and last.remark and last.geometry.decoder is None:
        _tell_of(last.remark)
    if errors:
        raise SystemExit(min(error.exit_code for error in errors))


def _arguments(choice: Choice, paths: tuple[str, ...], every: bool) -> tuple[list[str], Path, bool]:
    """The sources, the target, and whether the target is a folder."""
    if every:
        if len(paths) != 1:
            raise UsageError("with --all name one folder to write in, and nothing else")
        _check_folder(Path(paths[0]), True)
        return list(choice.open().manifest.backbones), Path(paths[0]), True
    if len(paths) < 2:
        raise UsageError("name what to convert and where to write it", hint="segzoo convert SRC DST")
    if "" in paths:
        raise UsageError("one of the names is empty")
    *sources, last = paths
    target = Path(last)
    folder = len(sources) > 1 or target.is_dir() or last.endswith("/")
    _check_folder(target, folder)
    sources = list(dict.fromkeys(sources))
    if twice := [one for one in sources if [Path(other).stem for other in sources].count(Path(one).stem) > 1]:
        raise UsageError(f"{' and '.join(twice)}: both would be written to {target / Path(twice[0]).stem}.*", hint="convert them one by one")
    return sources, target, folder


def _check_folder(target: Path, folder: bool) -> None:
    if folder and not target.is_dir() and (target.exists() or target.suffix.lower() in WEIGHTS):
        raise UsageError(f"{target}: a folder is needed to write in, not a file")


def _job(choice: Choice, source: str, target: Path, folder: bool, to: str, named: bool) -> Job:
    """The conversion of one source. If it is `named`, or is no file, it is a name in the zoo, and fetched if it is not here."""
    from segzoo.cli.sources import fetched, own, refuse_missing

    path, heads, layout, stem = Path(source) if named else own(source), None, None, Path(source).stem
    if named or not path.is_file():
        if not named:
            refuse_missing(source)
        from segzoo.manifest.entries import geometry_of  # pydantic, which a file that is missing does not need

        path, entry = fetched(choice, source)
        layout, heads, stem = explicit(entry.artifact.layout), geometry_of(entry).heads, Path(getattr(entry, "file", entry.artifact.name)).stem
        stem = re.sub(r"-[0-9a-f]{8}$", "", stem)  # the hash in a published name is that of the published bytes
    return Job(source, path, target / f"{stem}{_suffix(to)}" if folder else target, heads, layout)


def _suffix(layout: str) -> str:
    """How files of a layout usually end, whatever the family."""
    return next(layouts[layout].suffix for layouts in LAYOUTS.values() if layout in layouts)


def _refuse_taken(job: Job, taken: dict[Path, str]) -> None:
    """Note the job's target as taken. Raises UsageError where an earlier job has taken it."""
    if job.target in taken:
        raise UsageError(f"{job.source}: {job.target} was just made of {taken[job.target]}", hint="convert them one by one")
    taken[job.target] = job.source


def _converted(job: Job, heads: int | None, digests: bool, options: dict[str, Any]) -> Report:
    from segzoo.cli.terminal.progress import byte_progress
    from segzoo.conversion.convert import convert as convert_file
    from segzoo.formats import naming

    with byte_progress(job.target.name) as said, naming(job.path, job.source):
        return convert_file(job.path, job.target, heads=heads, digests=digests, progress=lambda _, done, whole: said(done, whole), **options)


def _facts(source: str, report: Report) -> dict[str, Any]:
    dropped = [{"section": drop.section, "reason": drop.reason, "tensors": drop.keys} for drop in report.dropped]
    facts: dict[str, Any] = {
        "source": source,
        "target": str(report.target),
        "from": report.source_layout,
        "to": report.target_layout,
        "dropped": dropped,
    }
    facts |= {"computed": report.computed, "notes": report.notes, "not_finite": report.not_finite}
    facts |= {"geometry": str(report.geometry), "made": str(report.made), "digests": report.digests}
    return {**facts, "seconds": round(report.seconds, 3), "already": report.already}


def _tell_of(remark: str) -> None:
    from segzoo.cli.terminal.show import on_terminal, tell

    if on_terminal():
        tell(f"note: {remark}", style="dim")


def _show(source: str, report: Report) -> None:
    from segzoo.cli.terminal.loudness import verbosity
    from segzoo.cli.terminal.show import counted, megabytes, show, tell
    from segzoo.text import brief

    lines = [f"read     {source}: {report.source_layout}, {report.read} tensors, {megabytes(report.bytes_read)}", f"         {report.geometry}"]
    lines += [f"         {note}" for note in report.notes]
    for drop in report.dropped:
        lines += [f"dropped  {drop.section}: {counted(len(drop.keys), 'tensor')}, {drop.reason}"]
        lines += [f"         {brief(key)}" for key in drop.keys if verbosity()]
    lines += [f"computed {what}: {how}" for what, how in report.computed.items()]
    if report.already:
        lines += [f"there    {report.target} is there already, with the same {report.written} tensors; it stays as it is"]
    else:
        lines += [f"wrote    {report.target}: {report.target_layout}, {report.written} tensors, {megabytes(report.bytes_written)}"]
        lines += [f"         read back and compared, {report.seconds:.2f} s in all"]
    for line in lines:
        show(line)
    if report.not_finite:
        tell(f"warning: not finite: {', '.join(report.not_finite)}", style="yellow")
