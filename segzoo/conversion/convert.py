"""How one file becomes another: open, detect, plan, write tensor by tensor, read back and compare, report."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter

from segzoo.atomic import sweep_once
from segzoo.conversion.axes import measure
from segzoo.conversion.checkpoint import Checkpoint, Positions, identified
from segzoo.conversion.computed import cast, regridded
from segzoo.conversion.lora import merged
from segzoo.conversion.metadata import METADATA_KEY
from segzoo.conversion.misfit import needed
from segzoo.conversion.plan import Dropped, Plan, plan
from segzoo.conversion.positions import METHODS
from segzoo.conversion.run import check_buffers
from segzoo.conversion.write import Progress, Written, write, written_before
from segzoo.errors import ConversionError, UsageError, one_of
from segzoo.formats import Weights, naming, open_weights, writer
from segzoo.formats.arrays import NUMPY_DTYPES
from segzoo.layouts import NAMES, all_layouts
from segzoo.layouts.family import Geometry, told
from segzoo.layouts.layout import Layout


@dataclass(frozen=True)
class Report:
    """What a conversion read, wrote and dropped.

    `geometry` is the source's, `made` the target's. `read` and `written` count tensors. `computed` names the steps that
    changed numbers: none unless asked for. `digests` has `tensor_digest` of each tensor written, if they were asked for.
    `already` is True if the target was there, and held just this. `remark` is what the target's library wants besides, for people.
    """

    source: Path
    target: Path
    source_layout: str
    target_layout: str
    geometry: Geometry
    made: Geometry
    read: int
    bytes_read: int
    bytes_written: int
    written: int
    digests: Mapping[str, str]
    dropped: tuple[Dropped, ...]
    computed: Mapping[str, str]
    notes: tuple[str, ...]
    not_finite: tuple[str, ...]
    seconds: float
    already: bool = False
    remark: str = ""


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str | Layout = "mmseg",
    source_layout: str | None = None,
    at: str | None = None,
    merge_lora: str | Path | None = None,
    heads: int | None = None,
    positions: Positions | None = None,
    eps: float | None = None,
    drop: Collection[str] = (),
    force_drop: bool = False,
    prefix: str | None = None,
    grid: tuple[int, int] | None = None,
    resample: str = "mmseg",
    dtype: str | None = None,
    force: bool = False,
    digests: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert the weights in `source` to layout `to`, and write them to `target`, in the format of its suffix.

    `to` is a layout's name or a table. `source_layout` is detected if it is not given. `at` names the model in a file of several, such as
    `teacher` or `model_ema`.
    `merge_lora` is an adapter of peft's, a file or a folder, that is merged into the source: numbers are then computed.
    `heads` (attention heads) and `positions` (entries of the grid in the position table, or its rows and columns) are asked for by
    an error if the file does not show them. Where it matters how the positions lie, a square number of them is taken for a square.
    `eps` is that of the layer norms, if the caller knows it.
    `drop` leaves out sections by name, and tensors by name or pattern; those that the forward pass may need only with `force_drop`.
    `prefix` is written before the target's names; it must be one that the target's layout knows.
    Numbers are moved, not computed, unless `grid` = (h, w) asks for position embeddings of h x w patches, made by
    `resample` (one of `positions.METHODS`), or `dtype` asks for another dtype.
    Every tensor is read back from the finished file and compared before the file takes its name. If there is any
    error, nothing is left behind. An existing target is replaced only with `force`; without it, one that holds just what would be
    written is left as it is. A target that is a link is replaced, not what it points to.
    `digests` asks for the SHA-256 of each tensor. `progress` is called with (what is being done, bytes done, bytes in all).

    Raises NotFoundError, IntegrityError (the source is damaged or unsafe), ConversionError (names or
    shapes do not fit), UsageError (the target is another file, unknown suffix), EnvironmentFault (cannot write).
    """
    started = perf_counter()
    source, target = Path(source), Path(target)
    _check_wishes(to, source_layout, drop, grid, resample, dtype)
    there = _check_target(source, target) and not force
    opened, computed = open_weights(source, at), {}
    if merge_lora is not None:
        opened, computed["lora"] = merged(opened, Path(merge_lora))
    with naming(opened.path):
        sections = [one for one in drop if one not in opened and any(one in layout.sections for layout in all_layouts())]
        kept, aside = _set_aside(opened, [one for one in drop if one not in sections])
        read = identified(kept, layout=source_layout, heads=heads, positions=positions)
        _refuse_needed(aside, read, force_drop)
        _refuse_unlike(read)
        check_buffers(read.found, kept, read.sizes)
        computing, steps_done = _computing(read, grid, resample, dtype)
        computed |= steps_done
        heads_said = read.geometry.heads or read.said.get("backbone.heads")
        steps = plan(computing.specs, to, found=read.found, heads=heads_said, drop=sections, prefix=prefix)
        made, _ = measure(steps.target, steps.specs, steps.geometry.heads)
        made = told(made, {name: read.said.get(f"backbone.{name}") for name in ("window", "activation")})  # which no tensor shows
        made = read.family.lying(made, lies) if (lies := grid or read.grid) else made
    eps = eps or read.said.get("backbone.eps")
    with naming(opened.path):
        metadata, said = _metadata(steps, made, eps, computed), progress or (lambda doing, done, whole: None)
        written = (_kept if there else write)(target, steps, computing, metadata, digests, said)
    return Report(
        source,
        target,
        read.found.layout.name,
        steps.layout.name,
        read.geometry,
        made,
        len(opened),
        opened.size,
        written.size,
        len(steps.specs),
        written.digests,
        (*steps.dropped, *([Dropped("tensors", "as asked", tuple(aside))] if aside else [])),
        computed,
        (*opened.notes, *read.found.notes, *_said_note(read, heads), *_eps_note(steps, eps), *_activation_note(read), *_filled_note(steps))
        + (tuple(_square_note(read, positions)) if grid else ()),
        tuple(written.not_finite),
        perf_counter() - started,
        written.already,
        steps.layout.remark,
    )


def _check_wishes(
    to: str | Layout, source_layout: str | None, drop: Collection[str], grid: tuple[int, int] | None, resample: str, dtype: str | None
) -> None:
    """Raises UsageError for an unknown layout, resampling or dtype, or a value of the wrong kind."""
    for value, among, what in (
        (None if isinstance(to, Layout) else to, NAMES, "layout"),
        (source_layout, NAMES, "layout"),
        (resample, METHODS, "resampling"),
        (dtype, NUMPY_DTYPES, "dtype"),
    ):
        if value is not None:
            one_of(what, value, among)
    if isinstance(drop, str):
        raise UsageError(f"drop: expected a collection of names, found {drop!r}")
    if grid is not None and not (isinstance(grid, tuple | list) and len(grid) == 2 and all(type(side) is int and side > 0 for side in grid)):
        raise UsageError(f"grid: expected rows and columns, a pair of positive numbers, found {grid!r}")


def _check_target(source: Path, target: Path) -> bool:
    """Whether there is a target already. Raises UsageError if it cannot be written."""
    writer(target)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder", hint="name the file to write in it")
    if target.exists() and source.exists() and source.samefile(target):
        raise UsageError(f"{target}: source and target are the same file")
    return target.exists() or target.is_symlink()


def _kept(target: Path, steps: Plan, source: Weights, metadata: Mapping[str, str], digests: bool, said: Progress) -> Written:
    """A target that stays as it is. Raises UsageError unless it holds just what would be written."""
    sweep_once(target.parent)
    looked_at = None
    while looked_at != (found := _seen(target)):  # another run that makes the same may replace it while it is read
        if kept := written_before(target, steps, source, metadata, digests, said):
            return kept
        looked_at = found
    raise UsageError(f"{target}: exists already, and is another file", hint="--force, or force=True in Python, replaces it")


def _seen(path: Path) -> tuple[int, int] | None:
    """What tells a file, or a link, from one that replaces it; None where there is none."""
    try:
        now = path.lstat()
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_mtime_ns


def _computing(read: Checkpoint, grid: tuple[int, int] | None, resample: str, dtype: str | None) -> tuple[Weights, dict[str, str]]:
    """The weights, changed by the steps that compute numbers as each tensor is read; and these steps in words."""
    weights, done = read.weights, {}
    if grid is not None:
        weights, done["positions"] = regridded(read, grid, resample)
    if dtype is not None:
        weights, done["dtype"] = cast(weights, dtype)
    return weights, done


def _metadata(steps: Plan, made: Geometry, eps: float | None, computed: Mapping[str, str]) -> dict[str, str]:
    """What a safetensors file records of itself, since its tensors do not show all of it."""
    sizes = {name: value for name, value in asdict(made).items() if value is not None}
    facts = {"layout": steps.layout.name, **sizes, "eps": eps or steps.source.layout.eps} | ({"computed": computed} if computed else {})
    return {"format": "pt", METADATA_KEY: json.dumps(facts)}  # transformers 4 refuses a file that does not name its framework


def _set_aside(opened: Weights, patterns: Collection[str]) -> tuple[Weights, list[str]]:
    """The weights without the tensors that fit a pattern, and the names of these tensors. Raises ConversionError for a pattern that fits none."""
    aside: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in opened.specs if fnmatchcase(name, pattern)]
        if not fitting:
            raise ConversionError(
                f"'{pattern}' cannot be dropped: no section and no tensor has this name", hint="segzoo inspect FILE --keys lists them"
            )
        aside |= dict.fromkeys(fitting)
    return replace(opened, specs={name: spec for name, spec in opened.specs.items() if name not in aside}), list(aside)


def _refuse_needed(aside: Collection[str], read: Checkpoint, force: bool) -> None:
    """Raises ConversionError for a tensor that is to be left out although the forward pass may need it."""
    need = set() if force else needed(aside, read.found)
    if lost := [name for name in aside if name in need]:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise ConversionError(
            f"{lost[0]}{more}: not left out, since the forward pass may need it: without it this would be another model",
            hint="if you know that it does not, --force-drop (force_drop=True in Python) leaves it out",
        )


def _refuse_unlike(read: Checkpoint) -> None:
    """Raises ConversionError for a backbone that is another model than its tensors alone make it, by its config."""
    if read.unlike:
        raise ConversionError(
            f"{'; '.join(read.unlike)}: its tensors would be read as another model's",
            hint="if this is the config of another file, move the weights into a folder of their own",
        )


def _said_note(read: Checkpoint, heads: int | None) -> list[str]:
    """Where the attention heads come from, if the file's own words say them; and what of its words could not be read."""
    fact = read.said.facts.get("backbone.heads")
    said = [f"{fact.value} attention heads: {fact.source}"] if fact and heads is None and read.geometry.heads is None else []
    return [*said, *read.said.notes, *read.said.unlike]


def _eps_note(steps: Plan, known: float | None) -> list[str]:
    """Which eps to build the model with, if defaults differ. No tensor shows it, and 1e-5 instead of 1e-6 moves the logits."""
    here, there = steps.source.layout, steps.layout
    if known is not None and known != there.eps:
        return [f"layer norms have eps {known:g}, in {there.name} by default {there.eps:g}: build the model with eps {known:g}"]
    if known is None and here.eps != there.eps:
        note = f"layer norms have eps {here.eps:g} in {here.name} and by default {there.eps:g} in {there.name}, and no tensor shows it: "
        return [note + f"build the model with eps {here.eps:g}, unless this file was converted from another layout"]
    return []


def _activation_note(read: Checkpoint) -> list[str]:
    """Which activation to build the model with, if it is not the usual one."""
    fact = read.said.facts.get("backbone.activation")
    if fact is None or fact.value == read.family.usual(read.geometry).get("activation", fact.value):
        return []
    return [f"its activation is {fact.value} ({fact.source}), and no tensor shows it: build the model with {fact.value}"]


def _square_note(read: Checkpoint, positions: Positions | None) -> list[str]:
    """That positions are taken for a square, where nobody says how they lie."""
    if read.square is None or isinstance(positions, tuple):
        return []
    return [f"{read.square}: no tensor shows how they lie; if they lie otherwise, say so with --positions HxW"]


def _filled_note(steps: Plan) -> list[str]:
    """What the target must have and the source lacks, written as what its absence means."""
    if not steps.filled:
        return []
    values = " and ".join("zeros" if value == 0 else "ones" for value in sorted(set(steps.filled.values())))
    first, more = list(steps.filled)[:3], f" and {len(steps.filled) - 3} more" if len(steps.filled) > 3 else ""
    return [f"not in {steps.source.layout.name}'s file, and written as {values}, which means the same: {', '.join(first)}{more}"]
