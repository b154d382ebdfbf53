"""What a file of weights is. This is the one way to open it: its own records are read, its layout is detected, its sizes are measured, each once."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.metadata import Recorded, recorded, said_by, said_of
from segzoo.conversion.said import Said
from segzoo.errors import ConversionError, UsageError
from segzoo.formats import Weights, open_weights
from segzoo.formats.arrays import NUMPY_DTYPES
from segzoo.layouts.family import Family, Geometry

_REAL = {*NUMPY_DTYPES, "float64"}

Positions = int | tuple[int, int]


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that is understood: its tensors, what it records of itself, its layout, its geometry and the sizes of its axes.

    `said` is all that the file, or a config of it, says of the model; of facts that its tensors contradict, only notes are left.
    """

    weights: Weights
    recorded: Recorded
    found: Found
    geometry: Geometry
    sizes: dict[str, int]
    said: Said = field(default_factory=Said)

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of its weights, sorted. Counts of batches and buffers are no weights."""
        return sorted({self.weights.specs[key].dtype for key, rule in self.found.rules.items() if rule.native})

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of its grid of positions; None if there is none, or it is not known how the positions lie."""
        return getattr(self.geometry, "grid", None)

    @property
    def square(self) -> str | None:
        """In words, that its positions are taken for a square; None where the file says how they lie, or they cannot be a square."""
        rows, columns = self.grid or (0, 1)
        if rows != columns or isinstance(self.recorded.positions, tuple) or "backbone.image" in self.said:
            return None
        return f"{rows * columns} positions are taken for {rows} x {columns}"

    @property
    def family(self) -> Family:
        return self.found.layout.family

    @property
    def unlike(self) -> tuple[str, ...]:
        """What segzoo's network of the backbone does otherwise than is said, in words."""
        return _unlike(self.said, self.family, self.geometry)


def identify(
    path: str | Path,
    *,
    heads: int | None = None,
    positions: Positions | None = None,
    at: str | None = None,
    config: Path | None = None,
) -> Checkpoint:
    """Open a file and understand it. `heads` and `positions` are numbers that the caller knows; without them the file's own records count.
    `positions` of the grid are their number, or rows and columns. `at` names the model in a file of several. `config` is a config that
    the caller knows to be this file's.

    Raises what `open_weights` raises, ConversionError if the tensors are in no layout or their sizes do not fit together, and
    UsageError or NotFoundError for a config that is not this file's, or no config.
    """
    return identified(open_weights(path, at), heads=heads, positions=positions, config=config)


def identified(
    weights: Weights,
    *,
    layout: str | None = None,
    heads: int | None = None,
    positions: Positions | None = None,
    config: Path | None = None,
) -> Checkpoint:
    """The same for a file that is open already. If `layout` is given, the file is read as that layout only."""
    known = recorded(weights)
    if heads is not None and known.heads not in (None, heads):
        raise ConversionError(f"the file itself records {known.heads} heads, but {heads} were given")
    return measured(weights, detected(weights, layout, positions), heads, positions, config)


def detected(weights: Weights, layout: str | None = None, positions: Positions | None = None) -> Found:
    """The first half of `identified`: the layout of a file."""
    positions = positions or recorded(weights).positions
    return detect(weights.specs, layout, math.prod(positions) if isinstance(positions, tuple) else positions)


def measured(weights: Weights, found: Found, heads: int | None = None, positions: Positions | None = None, config: Path | None = None) -> Checkpoint:
    """The second half of `identified`: the sizes of a file whose layout is known."""
    known = recorded(weights)
    _refuse_strange(weights, found)
    geometry, sizes = measure(found, weights.specs, heads or known.heads)
    said = _said(weights, geometry, config)
    said = replace(said, unlike=(*said.unlike, *_unlike(said, found.layout.family, geometry)))
    grid = next((one for one in (positions, known.positions) if isinstance(one, tuple)), None)
    if grid is None and (image := said.get("backbone.image")) is not None:
        grid = found.layout.family.grid_of(geometry, image)
    return Checkpoint(weights, known, found, found.layout.family.lying(geometry, grid) if grid else geometry, sizes, said)


def _said(weights: Weights, geometry: Geometry, config: Path | None) -> Said:
    """What a file, or the config that the caller names, says of it."""
    said = Said()
    if config is not None:
        said = said_by(config)
        if wrong := _contradictions(said, geometry):
            raise UsageError(
                f"{config}: not the config of this file: {'; '.join(wrong)}", hint="--config takes the config that the file was trained with"
            )
    for one in said_of(weights):
        said = said.over(_of_these(one, geometry))
    return said


def _unlike(said: Said, family: Family, geometry: Geometry) -> tuple[str, ...]:
    """What the network of the backbone does otherwise than is said, in words."""
    return tuple(f"{said.facts[f'backbone.{name}'].source}: {how}" for name, how in family.unlike(geometry, said.starting("backbone")).items())


def _refuse_strange(weights: Weights, found: Found) -> None:
    """Raises ConversionError for weights that are no real numbers: integers stand for numbers that only their scales tell."""
    for key in (key for key, rule in found.rules.items() if rule.native):
        if key in weights.strange:
            raise ConversionError(f"{key}: {weights.strange[key]}, expected plain numbers", hint="save the model with dense tensors of floats")
        if (dtype := weights.specs[key].dtype) not in _REAL:
            hint = "integers and float8 are no weights without their scales: save the model before it is quantised"
            raise ConversionError(f"{key}: its dtype is {dtype}, expected floats", hint)


def _of_these(said: Said, geometry: Geometry) -> Said:
    """What is said, if it fits the tensors. A config of other sizes is another model's: only notes are left of it."""
    if wrong := _contradictions(said, geometry):
        return said.without(set(said.facts), f"{'; '.join(wrong)}: it is another model's config, and nothing in it is used")
    outputs = geometry.decoder and geometry.decoder.classes
    if outputs and said.get("head.outputs") not in (None, outputs):
        source = said.facts["head.outputs"].source
        said = said.without({"head.outputs"}, f"{source} says {said.get('head.outputs')} outputs, the head's tensors have {outputs}")
    return said


def _contradictions(said: Said, geometry: Geometry) -> list[str]:
    """The sizes of the backbone that are said, and that the tensors contradict, in words."""
    wrong = []
    for name in ("width", "widths", "depth", "depths", "patch", "window", "image"):
        fact, shown = said.facts.get(f"backbone.{name}"), getattr(geometry, name, None)
        if fact and isinstance(shown, int | tuple) and fact.value != shown:
            wrong.append(f"{fact.source} says {name} {fact.value}, the tensors show {shown}")
    return wrong
