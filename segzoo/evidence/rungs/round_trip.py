"""The third rung: does each tensor come back the same, bit for bit, from every other layout?"""

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.detect import detect
from segzoo.conversion.fit import layout_of, refusal, unlike
from segzoo.conversion.plan import Plan, Step, plan, steps_for
from segzoo.conversion.run import check_musts, make, run
from segzoo.errors import ConversionError
from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.evidence.rungs.equivalents import same_tensors
from segzoo.formats import open_weights
from segzoo.formats.arrays import identical, refuse_not_finite
from segzoo.layouts import LAYOUTS
from segzoo.layouts.layout import Layout
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.entries import Backbone, Model
from segzoo.text import legible

_KEPT = 32  # a kind of files has about ten
_KEEPING = Lock()
_WAYS: dict[tuple[object, ...], tuple[tuple[Layout, Layout], Plan, tuple[Step, ...]]] = {}
"""By the identities of both tables, which are kept so that no other table gets them."""


def check_round_trip(climb: Climb) -> Check:
    """Convert to every other layout of the family and back. Raises ConversionError for the first tensor that comes back changed.

    Where the store has the publisher's own converted file, our conversion must be equal to it. A file that the manifest calls an equivalent
    must hold the same tensors.
    """
    file = climb.file
    published = climb.entry.published if isinstance(climb.entry, Backbone) else None
    theirs = climb.setting.store.find(published) if published else None
    basis = climb.basis | {"published": legible(str(theirs)) if published else None}
    equivalents = climb.entry.equivalents if isinstance(climb.entry, Model) else ()
    others = {one.name: climb.setting.second_source(one) for one in equivalents}
    if equivalents:
        basis["equivalents"] = {name: other.sha256 for name, other in others.items() if other}
    if known := climb.known("round trip", basis):
        return known
    refuse_not_finite(file.weights)
    back = {name: _back_from(name, file) for name in _admissible(file)}
    if not back and not any(others.values()):
        return Check("round trip", "n/a", "n/a", f"no other layout has a place for {file.geometry}")
    covered = {key for keys in back.values() for key in keys}
    alone = sorted({section for section in file.found.sections if (keys := file.found.keys(section)) and covered.isdisjoint(keys)})
    detail = f"by way of {', '.join(back)}: {len(covered)} of {len(file.weights)} tensors, the same bit for bit"
    detail += f" ({', '.join(alone)}: in this layout only)" if alone else ""
    facts: dict[str, Any] = {"by_way_of": {name: len(keys) for name, keys in back.items()}, "tensors": len(covered), "in_this_layout_only": alone}
    if published and theirs:
        facts["published"] = _equal_to(published, theirs, file)
        detail += f"; {facts['published']}"
    if same := {name: same_tensors(file.weights, name, other.path) for name, other in others.items() if other}:
        facts["equivalents"] = same
        detail += "".join(f"; the same {tensors} tensors as {name}" for name, tensors in same.items())
    if lacking := [name for name, other in others.items() if other is None]:
        detail += f"; not compared with {', '.join(lacking)}, not on this machine: --equivalents fetches what is lacking"
    return Check("round trip", "passed", proved("round trip", facts), detail, facts, basis)


def _admissible(file: Checkpoint) -> list[str]:
    """The names of the other layouts that can hold the file."""
    found = file.found
    return [name for name in LAYOUTS[file.family.name] if name != found.layout.name and not refusal(found, layout_of(found, name))]


def _back_from(name: str, file: Checkpoint) -> list[str]:
    """The names of the tensors that go to a layout and come back the same. Raises ConversionError for one that comes back changed."""
    there, steps = _way(name, file)
    check_musts(there, file.weights)
    ways = {step.rule.key: step for step in there.steps}
    tensor = lru_cache(maxsize=4)(lambda key: make(ways[key], file.weights.__getitem__, there.sizes))  # q, k and v come from one
    for step in steps:
        if not identical(make(step, tensor, there.sizes), file.weights[step.rule.key]):
            raise ConversionError(f"{step.rule.key}: comes back changed from layout '{name}'")
    return [step.rule.key for step in steps]


def _way(name: str, file: Checkpoint) -> tuple[Plan, tuple[Step, ...]]:
    """The plan to another layout, and the steps back. They follow from tables, names and shapes: files of one kind share them."""
    tables = file.found.layout, LAYOUTS[file.family.name][name]
    kind = (*map(id, tables), file.geometry, tuple(file.weights.specs.items()))
    if known := _WAYS.get(kind):
        return known[1:]
    there = plan(file.weights.specs, name, found=file.found, heads=file.geometry.heads, drop=unlike(file.found, tables[1]))
    read = detect(there.specs, name, getattr(file.geometry, "positions", None))
    back = steps_for(file.found.rules, read, there.specs, there.sizes)
    with _KEEPING:
        while len(_WAYS) >= _KEPT:
            del _WAYS[next(iter(_WAYS))]
        _WAYS[kind] = tables, there, back
    return there, back


def _equal_to(published: Artifact, path: Path, file: Checkpoint) -> str:
    """Compare our conversion with the publisher's own converted file; the outcome in words. Raises ConversionError if they differ."""
    name, theirs = published.name, open_weights(path)
    ours = dict(run(plan(file.weights.specs, published.layout or "mmseg", found=file.found), file.weights))
    if missing := sorted(ours.keys() ^ theirs.keys()):
        raise ConversionError(f"{name}: other tensors than our conversion: {', '.join(missing[:6])}")
    if differing := [key for key in ours if not identical(ours[key], theirs[key])]:
        raise ConversionError(f"{name}: {len(differing)} tensors differ from our conversion, the first {differing[0]}")
    return f"equal to {name}, all {len(ours)} tensors"
