"""One file to another: open, detect, plan, stream, read back and compare, report."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from segzoo.atomic import replacing
from segzoo.errors import ConversionError, IntegrityError, UsageError
from segzoo.formats import Weights, open_weights, writer
from segzoo.geometry import Geometry
from segzoo.remap import Dropped, Plan, plan, run

Progress = Callable[[str, int], None]
METADATA_KEY = "segzoo"


@dataclass(frozen=True)
class Report:
    """What a conversion read, wrote and dropped. `digests` are of each tensor written, as `tensor_digest` gives them."""

    source: Path
    target: Path
    source_layout: str
    target_layout: str
    geometry: Geometry
    read: int
    bytes_read: int
    bytes_written: int
    digests: Mapping[str, str]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]
    not_finite: tuple[str, ...]
    seconds: float


def tensor_digest(array: np.ndarray) -> str:
    """SHA-256 over dtype, shape and bytes: the same for the same tensor in whatever file."""
    digest = hashlib.sha256(f"{array.dtype.name} {list(array.shape)}\n".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str = "mmseg",
    source_layout: str | None = None,
    heads: int | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert the weights in `source` to layout `to` and write them to `target`, in the format of its suffix.

    `source_layout` is detected where it is not given; `drop` names sections to leave out, `prefix` one
    that the target's names stand under. Every tensor is read back from the finished file and compared before the file takes its name; on
    any error nothing is left behind. `progress` is called with (doing, bytes done).

    Raises NotFoundError, IntegrityError (the source is damaged or unsafe), ConversionError (names or
    shapes do not fit), UsageError (target exists, unknown suffix), EnvironmentFault (cannot write).
    """
    started = perf_counter()
    source, target = Path(source), Path(target)
    write = writer(target)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder", hint="name the file to write in it")
    if target.exists() and source.exists() and source.samefile(target):
        raise UsageError(f"{target}: source and target are the same file")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already", hint="give --force to replace it")
    opened = open_weights(source)
    if heads is None:
        heads = recorded_heads(opened)
    with _naming(opened.path):
        steps = plan(opened.specs, to, source=source_layout, heads=heads, drop=drop, prefix=prefix)
    said = progress or (lambda doing, done: None)
    digests: dict[str, str] = {}
    not_finite: list[str] = []

    scratch = np.empty(max((spec.nbytes for spec in steps.specs.values()), default=0), np.uint8)

    def produce() -> Iterator[tuple[str, np.ndarray]]:
        done = 0
        for name, array in run(steps, opened):
            array = _contiguous(array, scratch)
            digests[name] = tensor_digest(array)
            if not _finite(array):
                not_finite.append(name)
            yield name, array
            said("writing", done := done + array.nbytes)

    with replacing(target) as part:
        with part.open("wb") as file:
            write(file, steps.specs, produce(), {METADATA_KEY: json.dumps({"layout": to, **_facts(steps.geometry)})})
        _read_back(part, target, digests, said)
        written = part.stat().st_size
    return Report(
        source,
        target,
        steps.source.layout.name,
        to,
        steps.geometry,
        len(opened),
        source.stat().st_size,
        written,
        digests,
        steps.dropped,
        (*opened.notes, *_eps_note(steps)),
        tuple(not_finite),
        perf_counter() - started,
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name into what the engine, which knows no files, complains of."""
    try:
        yield
    except ConversionError as error:
        raise ConversionError(f"{path}: {error.message}", error.hint) from error


def _eps_note(steps: Plan) -> list[str]:
    """No tensor shows the eps of the layer norms, and defaults differ: 1e-5 for 1e-6 moves the logits."""
    here, there = steps.source.layout, steps.target
    if here.eps == there.eps:
        return []
    return [f"layer norms have eps {here.eps:g} in {here.name} and by default {there.eps:g} in {there.name}: build the model with eps {here.eps:g}"]


def recorded_heads(opened: Weights) -> int | None:
    """The head count that segzoo itself wrote into a safetensors file's metadata."""
    try:
        heads = json.loads(opened.metadata[METADATA_KEY]).get("heads")
    except (KeyError, ValueError, AttributeError):
        return None
    return heads if isinstance(heads, int) else None


def _facts(geometry: Geometry) -> dict[str, object]:
    return {name: value for name, value in asdict(geometry).items() if value is not None}


def _contiguous(array: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The array with its bytes in order, copied into `scratch` if need be: fresh memory for each costs more than the copy."""
    if array.flags.c_contiguous:
        return array
    flat = scratch[: array.nbytes].view(array.dtype).reshape(array.shape)
    if array.ndim == 2:  # a transposed matrix: by strips as wide as a cache line, which halves the time
        for start in range(0, array.shape[1], 16):
            flat[:, start : start + 16] = array[:, start : start + 16]
    else:
        np.copyto(flat, array)
    return flat


def _finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite. A sum finds any that is not, and is cheap; one that overflows is looked at again."""
    if array.dtype.kind in "iub":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def _read_back(part: Path, target: Path, digests: Mapping[str, str], said: Progress) -> None:
    done = 0
    again = open_weights(part)
    if list(again) != list(digests):
        raise IntegrityError(f"{target}: read back, it holds other tensors than were written; nothing was kept")
    for name, digest in digests.items():
        array = again[name]
        if tensor_digest(array) != digest:
            raise IntegrityError(f"{target}: read back, tensor '{name}' differs from what was written; nothing was kept")
        said("comparing", done := done + array.nbytes)
