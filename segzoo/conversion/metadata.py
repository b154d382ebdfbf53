"""What a safetensors file written by segzoo records of itself: facts that no tensor shows, in its metadata."""

import json
from dataclasses import dataclass

from segzoo.formats import Weights

METADATA_KEY = "segzoo"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Attention heads, positions of the grid (or its rows and columns), eps of the backbone's layer norms; None for what a file does not say."""

    heads: int | None = None
    positions: int | tuple[int, int] | None = None
    eps: float | None = None


def recorded(opened: Weights) -> Recorded:
    """The facts in a file's own metadata. What is malformed there is ignored."""
    try:
        facts = dict(json.loads(opened.metadata[METADATA_KEY]))
    except (KeyError, ValueError, TypeError, RecursionError):
        return Recorded()
    heads, positions, rows, eps = (facts.get(name) for name in ("heads", "positions", "rows", "eps"))
    known = positions if type(positions) is int and positions > 0 else None
    lying = (rows, known // rows) if known and type(rows) is int and rows > 0 and known % rows == 0 else None
    return Recorded(
        heads if type(heads) is int and heads > 0 else None,
        lying or known,
        eps if type(eps) is float and 0 < eps < 1 else None,
    )
