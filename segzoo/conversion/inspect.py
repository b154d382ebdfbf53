"""What is in a file of weights: format, layout, geometry, dtypes. It reads headers only, and needs no torch."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.conversion.checkpoint import detected, measured
from segzoo.conversion.said import Said
from segzoo.errors import ConversionError
from segzoo.formats import Weights, open_weights
from segzoo.layouts.family import Geometry, told
from segzoo.spec import Spec

_MOST = 6
"""Strange tensors that are named one by one."""


@dataclass(frozen=True)
class Inspection:
    """A file's facts; `said` is what it says of itself.

    If the tensors fit no layout, `layout` and `geometry` are None, `trouble` says why, and `hint` what to do.
    """

    path: Path
    format: str
    size: int
    specs: Mapping[str, Spec]
    notes: tuple[str, ...]
    metadata: Mapping[str, str]
    layout: str | None
    sections: tuple[str, ...]
    geometry: Geometry | None
    said: Said
    trouble: str | None
    hint: str | None

    @property
    def parameters(self) -> int:
        return sum(math.prod(spec.shape) for spec in self.specs.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """How many tensors there are of each dtype."""
        return dict(Counter(spec.dtype for spec in self.specs.values()))


def inspect(path: str | Path, at: str | None = None, config: Path | None = None) -> Inspection:
    """Look at a file's headers, and at what it, or the `config` that it was trained with, says of it. `at` names the model in a file of
    several. Raises what `open_weights` raises.
    """
    opened = open_weights(path, at)
    notes = [*opened.notes, *_strange(opened)]
    facts: dict[str, Any] = {"layout": None, "sections": (), "geometry": None, "said": Said(), "trouble": None, "hint": None}
    try:
        found = detected(opened)
        facts |= {"layout": found.layout.name, "sections": found.sections}
        notes += found.notes
        file = measured(opened, found, config=config)
        facts |= {
            "geometry": told(
                file.geometry, {**file.said.starting("backbone"), "neck": file.said.starting("neck"), "decoder": file.said.starting("head")}
            ),
            "said": file.said,
        }
    except ConversionError as error:
        facts |= {"trouble": error.message, "hint": error.hint}
    return Inspection(opened.path, opened.format, opened.size, opened.specs, tuple(notes), opened.metadata, **facts)


def _strange(opened: Weights) -> list[str]:
    """The first tensors whose numbers segzoo cannot tell, and how many more there are."""
    found = [f"{name}: {what}, of which segzoo cannot tell the numbers" for name, what in opened.strange.items()]
    return found if len(found) <= _MOST else [*found[:_MOST], f"and {len(found) - _MOST} more such tensors"]
