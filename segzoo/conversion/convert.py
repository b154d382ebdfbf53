"""One file to another: open, detect, plan, stream, read back and compare, report."""

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter

import numpy as np

from segzoo.atomic import replacing
from segzoo.conversion.axes import measure
from segzoo.conversion.computed import DTYPES, cast, regridded
from segzoo.conversion.detect import detect
from segzoo.conversion.metadata import METADATA_KEY, recorded
from segzoo.conversion.plan import Dropped, Plan, plan
from segzoo.conversion.positions import METHODS
from segzoo.conversion.run import run
from segzoo.errors import ConversionError, EnvironmentFault, IntegrityError, UsageError, one_of
from segzoo.formats import naming, open_weights, writer
from segzoo.formats.arrays import copy, finite, raw_bytes, tensor_digest
from segzoo.layouts import LAYOUTS, Layout
from segzoo.layouts.vit.geometry import Geometry
from segzoo.spec import Spec

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Report:
    """What a conversion read, wrote and dropped.

    `geometry` is the source's, `made` the target's. `computed` names the steps that changed numbers: none unless
    asked for. `digests` are of each tensor written, as `tensor_digest` gives them, where they were asked for.
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


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str | Layout = "mmseg",
    source_layout: str | None = None,
    heads: int | None = None,
    positions: int | None = None,
    eps: float | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
    grid: tuple[int, int] | None = None,
    resample: str = "mmseg",
    dtype: str | None = None,
    force: bool = False,
    digests: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert the weights in `source` to layout `to`, a name or a table, and write them to `target`, in the format of its suffix.

    `source_layout` is detected where it is not given; `heads` and `positions` (of the grid) are needed where
    neither names nor shapes nor the file's own metadata tell; `eps` is that of the layer norms, where the caller
    knows it; `drop` names sections, or tensors by name or pattern, to leave out, `prefix` one
    that the target's names stand under. Numbers are only moved, unless `grid` = (h, w) asks for position
    embeddings of as many patches (by `resample`, one of `positions.METHODS`), or `dtype` for another one.
    Every tensor is read back from the finished file and compared before the file takes its name; on any
    error nothing is left behind. `digests` asks for the SHA-256 of each. `progress` is called with (doing, bytes done, of how many).

    Raises NotFoundError, IntegrityError (the source is damaged or unsafe), ConversionError (names or
    shapes do not fit), UsageError (target exists, unknown suffix), EnvironmentFault (cannot write).
    """
    started = perf_counter()
    source, target = Path(source), Path(target)
    for value, among, what in (
        (None if isinstance(to, Layout) else to, LAYOUTS, "layout"),
        (source_layout, LAYOUTS, "layout"),
        (resample, METHODS, "resampling"),
        (dtype, DTYPES, "dtype"),
    ):
        if value is not None:
            one_of(what, value, among)
    if isinstance(drop, str):
        raise UsageError(f"drop: expected a collection of names, found {drop!r}")
    if grid is not None and not (isinstance(grid, tuple | list) and len(grid) == 2 and all(type(side) is int and side > 0 for side in grid)):
        raise UsageError(f"grid: expected rows and columns, a pair of positive numbers, found {grid!r}")
    write = writer(target)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder", hint="name the file to write in it")
    if target.exists() and source.exists() and source.samefile(target):
        raise UsageError(f"{target}: source and target are the same file")
    if (target.exists() or target.is_symlink()) and not force:
        raise UsageError(f"{target}: exists already", hint="--force, or force=True in Python, replaces it")
    opened = open_weights(source)
    known = recorded(opened)
    with naming(opened.path):
        if heads is not None and known.heads not in (None, heads):
            raise ConversionError(f"the file itself records {known.heads} heads, but {heads} were given")
        heads = heads or known.heads
        sections = [one for one in drop if any(one in layout.sections for layout in LAYOUTS.values())]
        specs, aside = _set_aside(opened.specs, [one for one in drop if one not in sections])
        found = detect(specs, source_layout, positions or known.positions)
        geometry, _ = measure(found.rules, specs, found.depths, heads)
        read = opened
        computed = {}
        if grid is not None:
            read, computed["positions"] = regridded(read, found, grid, resample)
        if dtype is not None:
            read, computed["dtype"] = cast(read, dtype)
        steps = plan(read.specs, to, found=found, heads=heads, drop=sections, prefix=prefix)
        made, _ = measure({step.rule.key: step.rule for step in steps.steps}, steps.specs, found.depths, steps.geometry.heads)
    eps = eps or known.eps
    facts = {"layout": steps.target.name, **_facts(made), "eps": eps or found.layout.eps} | ({"computed": computed} if computed else {})
    metadata = {"format": "pt", METADATA_KEY: json.dumps(facts)}  # transformers 4 refuses a file that does not name its framework
    said = progress or (lambda doing, done, whole: None)
    whole = sum(spec.nbytes for spec in steps.specs.values())
    checksums: dict[str, int] = {}
    sha256: dict[str, str] = {}
    not_finite: list[str] = []
    try:
        scratch = np.empty(max((spec.nbytes for spec in steps.specs.values()), default=0), np.uint8)
    except MemoryError as error:
        raise EnvironmentFault(f"{target}: not enough memory for its largest tensor") from error

    def produce() -> Iterator[tuple[str, np.ndarray]]:
        done = 0
        for name, array in run(steps, read):
            array = _contiguous(array, scratch)
            checksums[name] = zlib.crc32(raw_bytes(array))
            if digests:
                sha256[name] = tensor_digest(array)
            if not finite(array):
                not_finite.append(name)
            yield name, array
            done += array.nbytes
            said("writing", done // 2, whole)  # the other half is reading back

    with naming(opened.path), replacing(target) as part:
        with part.open("wb") as file:
            write(file, steps.specs, produce(), metadata)
        _read_back(part, target, steps, checksums, lambda done: said("comparing", (whole + done) // 2, whole))
        written = part.stat().st_size
    return Report(
        source,
        target,
        steps.source.layout.name,
        steps.target.name,
        geometry,
        made,
        len(opened),
        source.stat().st_size,
        written,
        len(steps.steps),
        sha256,
        (*steps.dropped, *([Dropped("tensors", "as asked", tuple(aside))] if aside else [])),
        computed,
        (*opened.notes, *found.notes, *_eps_note(steps, eps)),
        tuple(not_finite),
        perf_counter() - started,
    )


def _set_aside(specs: Mapping[str, Spec], patterns: Collection[str]) -> tuple[dict[str, Spec], list[str]]:
    """The tensors to read, and those that the patterns leave out. Raises ConversionError for a pattern that fits none."""
    aside: list[str] = []
    for pattern in patterns:
        fitting = [name for name in specs if fnmatchcase(name, pattern)]
        if not fitting:
            raise ConversionError(
                f"'{pattern}' cannot be dropped: no section and no tensor has this name", hint="segzoo inspect FILE --keys lists them"
            )
        aside += [name for name in fitting if name not in aside]
    return {name: spec for name, spec in specs.items() if name not in aside}, aside


def _eps_note(steps: Plan, known: float | None) -> list[str]:
    """No tensor shows the eps of the layer norms, and defaults differ: 1e-5 for 1e-6 moves the logits."""
    here, there = steps.source.layout, steps.target
    if known is not None and known != there.eps:
        return [f"layer norms have eps {known:g}, in {there.name} by default {there.eps:g}: build the model with eps {known:g}"]
    if known is None and here.eps != there.eps:
        note = f"layer norms have eps {here.eps:g} in {here.name} and by default {there.eps:g} in {there.name}, and no tensor shows it: "
        return [note + f"build the model with eps {here.eps:g}, unless this file was converted from another layout"]
    return []


def _facts(geometry: Geometry) -> dict[str, object]:
    return {name: value for name, value in asdict(geometry).items() if value is not None}


def _contiguous(array: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The array with its bytes in order, copied into `scratch` if need be: fresh memory for each costs more than the copy."""
    if array.flags.c_contiguous:
        return array
    flat = scratch[: array.nbytes].view(array.dtype).reshape(array.shape)
    copy(array, flat)
    return flat


def _read_back(part: Path, target: Path, steps: Plan, checksums: Mapping[str, int], said: Callable[[int], None]) -> None:
    """The finished file opened as a reader will, each tensor held to what was written: dtype, shape and CRC-32 of its bytes."""
    done = 0
    again = open_weights(part)
    if dict(again.specs) != steps.specs:
        raise IntegrityError(f"{target}: read back, it holds other tensors than were written; nothing was kept")
    for name, checksum in checksums.items():
        array = again[name]
        if zlib.crc32(raw_bytes(array)) != checksum:
            raise IntegrityError(f"{target}: read back, tensor '{name}' differs from what was written; nothing was kept")
        said(done := done + array.nbytes)
