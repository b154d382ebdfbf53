"""How many parameters a model has, by the shapes in its file: headers only, no tensor is read."""

import math
from collections.abc import Mapping
from typing import Any

from segzoo.conversion.checkpoint import identified
from segzoo.conversion.plan import plan
from segzoo.errors import SegzooError
from segzoo.formats import open_weights
from segzoo.layouts import OWN, explicit
from segzoo.store.store import Store

_STATISTICS = (".mean", ".var", ".batches")  # of a batch norm, as canonical names end


def parameters(checks: Mapping[str, Mapping[str, Any]], store: Store) -> int | None:
    """The parameters of the model in the file that a receipt names: what training left behind, an auxiliary head, is not counted.

    None where the store has not the file, or where it cannot be read as the receipt says.
    """
    if any(checks.get(rung, {}).get("status") != "passed" for rung in ("bytes", "names")):
        return None
    facts, names = checks["bytes"]["facts"], checks["names"]["facts"]
    files = facts.get("files") or {facts["artifact"]: facts["sha256"]}
    if not all(store.stored(sha256) for sha256 in files.values()):
        return None
    heads = names["geometry"].get("heads")
    try:
        weights = open_weights(store.together(facts["artifact"], files))
        file = identified(weights, layout=explicit(names["layout"]), heads=heads if isinstance(heads, int) else None)
        made = plan(weights.specs, OWN[file.family.name], found=file.found, heads=file.geometry.heads)
    except SegzooError:  # the page says that it has no number
        return None
    return sum(math.prod(step.spec.shape) for step in made.steps if not step.rule.holds[0].endswith(_STATISTICS))
