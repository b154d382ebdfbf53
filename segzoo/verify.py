"""The ladder of evidence for one zoo entry: bytes, names, round trip, numbers, mIoU.

Each rung rules out one kind of fault and yields one `Check`; above a broken rung nothing is climbed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np

from segzoo.cell import FAILED, NOT_TRIED, proved
from segzoo.conversion.detect import detect
from segzoo.conversion.plan import fill, plan, refusal
from segzoo.conversion.run import make, run
from segzoo.errors import ConversionError, LostProcess, SegzooError, Skip
from segzoo.formats import Weights, open_weights
from segzoo.formats.arrays import identical, refuse_not_finite
from segzoo.ladder import Check, Climb, Setting
from segzoo.layouts import LAYOUTS
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.entries import Backbone, Entry, Model
from segzoo.scoring import score
from segzoo.text import legible
from segzoo.vocabulary import RUNGS
from segzoo.zoo.opened import read

Previous = Mapping[str, Mapping[str, Any]]


def verify(entry: Entry, setting: Setting, previous: Previous | None = None) -> Iterator[Check]:
    """Climb the ladder for one entry; yields a check a rung, in order.

    `previous` are checks of earlier runs by rung: what is proved already and depends on the same is not
    proved again. Of several processes the first climbs all, the others what they need to evaluate; raises
    LostProcess where one of them fails.
    """
    climb = Climb(entry, setting, previous or {})
    broken: str | None = None
    for rung, act in zip(RUNGS, (_bytes, _names, _round_trip, _numbers, score), strict=True):
        if setting.world and setting.world.rank and rung in ("round trip", "numbers"):
            continue
        if rung == "mIoU" and setting.world and setting.world.any(broken is not None) and not broken:
            if setting.world.rank == 0:  # whose receipt would say that all it tried has passed
                raise LostProcess("a rung failed in another process, which says why", hint="do all see the same files?")
            broken = "a rung of another process"
        if broken:
            yield Check(rung, "skipped", NOT_TRIED, f"not tried, since {broken} failed")
            continue
        started = perf_counter()
        try:
            check = act(climb)
        except Skip as skip:
            check = Check(rung, "skipped", skip.short, skip.detail, skip.facts)
        except LostProcess:
            raise
        except SegzooError as error:
            joint = "\nhint: " if "\n" in error.message else "; "  # after a list of addresses it has a line of its own
            said = legible(joint.join(filter(None, [error.message, error.hint])))
            check = Check(rung, "failed", FAILED.get(error.exit_code, "failed"), said, code=error.exit_code)
            broken = rung
        yield check if check.time else replace(check, seconds=round(perf_counter() - started, 3))


def artifacts_of(entry: Entry) -> list[Artifact]:
    """What verifying an entry needs from the network, data set apart."""
    counts = [entry.counts.file] if isinstance(entry, Model) and entry.counts else []
    return [entry.artifact, *counts]


# bytes


def _bytes(climb: Climb) -> Check:
    setting = climb.setting
    artifact = climb.entry.artifact
    fetched = climb.fetched = setting.fetch(artifact)
    short = "sha256" if artifact.sha256 else "prefix, pinned" if artifact.sha256_prefix else "no hash, pinned"
    facts = {"artifact": artifact.name, "sha256": fetched.sha256, "size": fetched.size, "evidence": fetched.evidence}
    facts["urls"] = [mirror.url for mirror in artifact.urls]  # all, since which of them delivered would change from run to run
    facts |= {"provenance": artifact.provenance} if artifact.provenance else {}
    return Check("bytes", "passed", short, f"{fetched.evidence}: {fetched.sha256}, {fetched.size:,} bytes", facts)


# names


def _names(climb: Climb) -> Check:
    source = read(climb.entry, climb.fetched.path)
    climb.opened, climb.found, climb.geometry = source.opened, source.found, source.geometry
    layout, dtype, opened = source.found.layout.name, climb.entry.artifact.dtype, source.opened
    facts = {"layout": layout, "tensors": len(opened), "dtype": dtype, "geometry": asdict(source.geometry), "notes": list(opened.notes)}
    return Check("names", "passed", proved("names", facts), f"{layout}, {len(opened)} tensors, {source.geometry}", facts)


# round trip


def _round_trip(climb: Climb) -> Check:
    opened, found = climb.opened, climb.found
    theirs = climb.entry.published if isinstance(climb.entry, Backbone) else None
    basis = _basis(climb) | {"published": legible(str(climb.setting.store.find(theirs))) if theirs else None}
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


def _basis(climb: Climb) -> dict[str, Any]:
    """What a file's rungs depend on: its bytes, and what the manifest says of them."""
    eps = climb.entry.eps if isinstance(climb.entry, Backbone) else climb.entry.backbone.eps
    return {"sha256": climb.fetched.sha256, "geometry": asdict(climb.geometry), "eps": eps}


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


# numbers


def _numbers(climb: Climb) -> Check:
    for module, extra in (("torch", "eval"), ("jax", "jax")):
        if find_spec(module) is None:
            raise Skip(f"no {module}", f"{module} is not installed: pip install 'segzoo[{extra}]'")
    if refusal(climb.found, LAYOUTS["augreg"]):
        return Check("numbers", "n/a", "n/a", "the JAX reference is of AugReg's models, which have no distillation token")
    basis = _basis(climb)
    if known := climb.known("numbers", basis):
        return known
    from segzoo.models.segmentor import build
    from segzoo.parity import differences, gelu_drift, probe

    opened, geometry = climb.opened, replace(climb.geometry, decoder=None)
    eps = climb.entry.eps if isinstance(climb.entry, Backbone) else climb.entry.backbone.eps
    climb.setting.said("comparing with JAX", 0, None)
    backbone = {
        key.removeprefix("backbone."): array for key, array in _in_layout("mmseg", opened, geometry.heads) if not key.startswith("decode_head.")
    }
    model = build(geometry, backbone, eps)
    augreg = dict(_in_layout("augreg", opened, geometry.heads))
    image = probe(geometry.patch * (geometry.grid or 1))
    found = differences(model, augreg, image, eps)  # type: ignore[arg-type]
    worst = {dtype: max(one.relative for one in found if one.dtype == dtype) for dtype in ("float64", "float32")}
    if wrong := next((one for one in found if not one.passed), None):
        raise ConversionError(f"torch and JAX part at {wrong.name}: {wrong.relative:.1e} in {wrong.dtype}, relative to the largest value")
    drift = gelu_drift(augreg, image, eps)
    whose = " of the backbone" if climb.geometry.decoder else ""  # the reference has no decoder: mIoU alone judges that
    detail = f"torch against JAX, {len(found) // 2} intermediates{whose}: {worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32"
    detail += f" (GELU erf on both sides; flax's tanh form would move the tokens by {drift:.1e})"
    facts = {"intermediates": [asdict(one) for one in found], "gelu_tanh_drift": drift, "eps": eps}
    return Check("numbers", "passed", proved("numbers", facts), detail, facts, basis)


def _in_layout(name: str, opened: Weights, heads: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """The file's tensors in a layout, under the names that it writes: a file may have others."""
    return run(plan(opened.specs, name, heads=heads), opened)
