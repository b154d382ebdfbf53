"""The third rung: to every other layout and back, the same tensors bit for bit."""

from typing import Any

from segzoo.conversion.detect import detect
from segzoo.conversion.plan import fill, plan, refusal
from segzoo.conversion.run import make, run
from segzoo.errors import ConversionError
from segzoo.evidence.check import Check, proved
from segzoo.evidence.ladder import Climb
from segzoo.formats import open_weights
from segzoo.formats.arrays import identical, refuse_not_finite
from segzoo.layouts import LAYOUTS
from segzoo.manifest.entries import Backbone
from segzoo.text import legible


def check_round_trip(climb: Climb) -> Check:
    opened, found = climb.opened, climb.found
    theirs = climb.entry.published if isinstance(climb.entry, Backbone) else None
    basis = climb.basis | {"published": legible(str(climb.setting.store.find(theirs))) if theirs else None}
    if known := climb.known("round trip", basis):
        return known
    refuse_not_finite(opened)
    carried = {}
    covered: set[str] = set()
    for name, layout in LAYOUTS.items():
        if name == found.layout.name or refusal(found, layout):
            continue
        there = plan(opened.specs, name, found=found, heads=climb.geometry.heads)
        tensors = dict(run(there, opened))
        back = fill(found.rules, detect(there.specs, name, climb.geometry.positions), there.specs, there.sizes)
        for step in back:
            if not identical(make(step, tensors.__getitem__, there.sizes), opened[step.rule.key]):
                raise ConversionError(f"{step.rule.key}: comes back changed from layout '{name}'")
            covered.add(step.rule.key)
        carried[name] = len(back)
    alone = sorted({section for section in found.sections if covered.isdisjoint(found.keys(section))})
    detail = f"by way of {', '.join(carried)}: {len(covered)} of {len(opened)} tensors, the same bit for bit"
    detail += f" ({', '.join(alone)}: in this layout only)" if alone else ""
    facts: dict[str, Any] = {"by_way_of": carried, "tensors": len(covered), "in_this_layout_only": alone}
    if published := _published(climb):
        detail += f"; {published}"
        facts["published"] = published
    return Check("round trip", "passed", proved("round trip", facts), detail, facts, basis)


def _published(climb: Climb) -> str | None:
    """MMSegmentation's own converted file against our conversion, where the store has it."""
    published = climb.entry.published if isinstance(climb.entry, Backbone) else None
    path = climb.setting.store.find(published) if published else None
    if published is None or path is None:
        return None
    theirs = open_weights(path)
    ours = dict(run(plan(climb.opened.specs, "mmseg"), climb.opened))
    if missing := sorted(ours.keys() ^ theirs.keys()):
        raise ConversionError(f"{published.name}: other tensors than our conversion: {', '.join(missing[:6])}")
    if differing := [key for key in ours if not identical(ours[key], theirs[key])]:
        raise ConversionError(f"{published.name}: {len(differing)} tensors differ from our conversion, the first {differing[0]}")
    return f"equal to {published.name}, all {len(ours)} tensors"
