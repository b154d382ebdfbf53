"""The ladder of evidence for one zoo entry: bytes, names, round trip, numbers, mIoU.

Each rung rules out one kind of fault and yields one `Check`; above a broken rung nothing is climbed.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from segzoo.difference import identical
from segzoo.download import Fetched, Policy, fetch
from segzoo.errors import AccuracyError, ConversionError, EnvironmentFault, IntegrityError, SegzooError
from segzoo.formats import Weights, open_weights
from segzoo.geometry import Geometry, measure
from segzoo.layouts import LAYOUTS
from segzoo.miou import Counts, metrics, total
from segzoo.remap import Found, detect, fill, make, plan, refusal, run
from segzoo.store import Store
from segzoo.verdict import judge
from segzoo.zoo import Artifact, Backbone, Dataset, Entry, Model, Zoo

Status = Literal["passed", "failed", "skipped", "n/a"]
RUNGS = ("bytes", "names", "round trip", "numbers", "mIoU")
IMAGES_ON_CPU = 50


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rung. `short` fits a table's cell, `detail` is a sentence, `facts` go into the receipt."""

    rung: str
    status: Status
    short: str
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "short"}


@dataclass(frozen=True)
class Setting:
    """Where and how to verify. `images` None means all; `data` is a folder with the data set, if the user has one."""

    zoo: Zoo
    base: Path
    store: Store
    device: str = "cpu"
    images: int | None = IMAGES_ON_CPU
    data: Path | None = None
    said: Callable[[str, int, int | None], None] = lambda doing, done, whole: None
    policy: Policy | None = None

    def fetch(self, artifact: Artifact) -> Fetched:
        return fetch(artifact, self.store, self.base, lambda done, whole: self.said("fetching", done, whole), policy=self.policy)


class _Climb:
    """What is climbed, and what the rungs below have established: a rung sets it, those above read it."""

    fetched: Fetched
    opened: Weights
    found: Found
    geometry: Geometry

    def __init__(self, entry: Entry, setting: Setting):
        self.entry, self.setting = entry, setting


class _Skip(Exception):
    """A rung that could not run, and why."""

    def __init__(self, short: str, detail: str):
        super().__init__(detail)
        self.short, self.detail = short, detail


def verify(entry: Entry, setting: Setting) -> Iterator[Check]:
    """Climb the ladder for one entry; yields a check a rung, in order."""
    climb = _Climb(entry, setting)
    broken: str | None = None
    for rung, act in zip(RUNGS, (_bytes, _names, _round_trip, _numbers, _miou), strict=True):
        if broken:
            yield Check(rung, "skipped", "-", f"not tried, since {broken} failed")
            continue
        started = perf_counter()
        try:
            check = act(climb)
        except _Skip as skip:
            check = Check(rung, "skipped", skip.short, skip.detail)
        except SegzooError as error:
            check = Check(rung, "failed", "failed", error.message, code=error.exit_code)
            broken = rung
        yield replace(check, seconds=round(perf_counter() - started, 3))


def artifacts_of(entry: Entry) -> list[Artifact]:
    """What verifying an entry needs from the network, data set apart."""
    counts = [entry.counts.file] if isinstance(entry, Model) and entry.counts else []
    return [entry.artifact, *counts]


# bytes


def _bytes(climb: _Climb) -> Check:
    setting = climb.setting
    artifact = climb.entry.artifact
    fetched = climb.fetched = setting.fetch(artifact)
    short = "sha256" if artifact.sha256 else "prefix, pinned" if artifact.sha256_prefix else "no hash, pinned"
    facts = {"artifact": artifact.name, "sha256": fetched.sha256, "size": fetched.size, "evidence": fetched.evidence, "url": fetched.url}
    facts |= {"provenance": artifact.provenance} if artifact.provenance else {}
    return Check("bytes", "passed", short, f"{fetched.evidence}: {fetched.sha256}, {fetched.size:,} bytes", facts)


# names


def _names(climb: _Climb) -> Check:
    entry, artifact = climb.entry, climb.entry.artifact
    opened = climb.opened = open_weights(climb.fetched.path)
    decoder = entry.decoder if isinstance(entry, Model) else None
    grid = entry.geometry.grid
    found = climb.found = detect(opened.specs, positions=grid * grid)
    if artifact.layout is not None and found.layout.name != artifact.layout:
        raise ConversionError(f"layout '{found.layout.name}', the manifest says '{artifact.layout}'")
    heads = entry.geometry.heads if isinstance(entry, Backbone) else entry.backbone.heads
    measured, _ = measure(found.rules, opened.specs, found.depths, heads)
    if measured.decoder is not None and decoder is not None:  # its heads show in no tensor
        measured = replace(measured, decoder=replace(measured.decoder, heads=decoder.heads))
    expected = entry.geometry.geometry(decoder)
    if measured != expected:
        raise ConversionError(f"geometry differs from the manifest: {_differences(expected, measured)}")
    if others := sorted({spec.dtype for spec in opened.specs.values()} - {artifact.dtype}):
        raise ConversionError(f"dtype {', '.join(others)}, the manifest says {artifact.dtype}")
    climb.geometry = measured
    facts = {"layout": found.layout.name, "tensors": len(opened), "dtype": artifact.dtype, "geometry": asdict(measured), "notes": list(opened.notes)}
    return Check("names", "passed", found.layout.name, f"{found.layout.name}, {len(opened)} tensors, {measured}", facts)


def _differences(expected: Geometry, measured: Geometry) -> str:
    wanted, found = asdict(expected), asdict(measured)
    return "; ".join(f"{name} {found[name]}, expected {wanted[name]}" for name in wanted if wanted[name] != found[name])


# round trip


def _round_trip(climb: _Climb) -> Check:
    opened, found = climb.opened, climb.found
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
    return Check("round trip", "passed", f"{len(covered)} tensors", detail, facts)


def _published(climb: _Climb) -> str | None:
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


def _numbers(climb: _Climb) -> Check:
    for module, extra in (("torch", "eval"), ("jax", "jax")):
        if find_spec(module) is None:
            raise _Skip(f"no {module}", f"{module} is not installed: pip install 'segzoo[{extra}]'")
    from segzoo.model import build
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
    detail = f"torch against JAX, {len(found) // 2} intermediates: {worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32"
    detail += f" (GELU erf on both sides; flax's tanh form would move the tokens by {drift:.1e})"
    facts = {"intermediates": [asdict(one) for one in found], "gelu_tanh_drift": drift, "eps": eps}
    return Check("numbers", "passed", f"{worst['float64']:.0e}", detail, facts)


def _in_layout(name: str, opened: Weights, heads: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """The file's tensors in a layout; as they are where they are in it already."""
    if detect(opened.specs).layout.name == name:
        return iter(opened.items())
    return run(plan(opened.specs, name, heads=heads), opened)


# mIoU


def _miou(climb: _Climb) -> Check:
    entry, setting = climb.entry, climb.setting
    if isinstance(entry, Backbone):
        return Check("mIoU", "n/a", "n/a", "a backbone has no mIoU")
    for module in ("torch", "PIL"):
        if find_spec(module) is None:
            raise _Skip(f"no {module}", f"{module} is not installed: pip install 'segzoo[eval]'")
    from segzoo.datasets.pairs import digest, samples

    dataset = setting.zoo.datasets[entry.protocol.dataset]
    folder = dataset_folder(entry.protocol.dataset, dataset, setting)
    found = samples(folder, dataset.split, dataset.images)
    data_digest = digest(found)
    if dataset.digest is not None and data_digest != dataset.digest:
        raise IntegrityError(f"{folder}: the data set is not the one that the manifest names: digest {data_digest}, expected {dataset.digest}")
    return _scored(climb, entry, found, data_digest)


def dataset_folder(name: str, dataset: Dataset, setting: Setting) -> Path:
    """Where the data set is: `--data` (the folder itself or the one above), beside the manifest, or in the store."""
    if setting.data is not None:
        return setting.data / dataset.root if (setting.data / dataset.root).is_dir() else setting.data
    if dataset.path is not None:
        return setting.base / dataset.path
    from segzoo.datasets.unpacked import folder_of

    if (folder := folder_of(name, dataset, setting.store)) is not None and folder.is_dir():
        return folder
    raise _Skip("no data", f"data set {name} is not here: segzoo fetch {name}, or name its folder with --data DIR")


def _scored(climb: _Climb, entry: Model, found: tuple[Any, ...], data_digest: str) -> Check:
    import torch

    from segzoo.evaluation import evaluate, explained, subset
    from segzoo.model import build

    setting, protocol, classes = climb.setting, entry.protocol, entry.head.classes
    device = torch.device(setting.device)
    model = build(climb.geometry, climb.opened, entry.backbone.eps, entry.head.eps or 1e-5)
    chosen = subset(found, setting.images)
    counts: dict[str, Counts] = {}
    for sample, counted in evaluate(model, chosen, protocol, classes, device):
        counts[sample.name] = counted
        setting.said("images", len(counts), len(chosen))
    measured = metrics(total(counts.values()))
    stored = stored_counts(entry, setting)
    close = 0
    wrong = []
    for sample in chosen:
        if stored and counts[sample.name] != stored[sample.name]:
            allowed, calls = explained(model, sample, counts[sample.name], stored[sample.name], protocol, device)
            close += calls
            wrong += [] if allowed else [sample.name]
    whole = len(chosen) == len(found)
    facts = {
        "measured": measured,
        "reported": entry.reported.miou,
        "images": len(chosen),
        "of": len(found),
        "data_digest": data_digest,
        "device": str(device),
        "precision": "float32",
        "protocol": protocol.model_dump(exclude_none=True),
        "per_image": {name: [array.tolist() for array in one.arrays] for name, one in counts.items()},
    }
    if wrong:
        raise AccuracyError(
            f"the pixel counts of {len(wrong)} of {len(chosen)} images differ from those stored, the first {wrong[0]}; mIoU {measured['mIoU']:.2f}"
        )
    verdict, why = judge(list(counts.values()), entry.reported.miou, whole)
    facts["verdict"] = verdict
    detail = f"{measured['mIoU']:.2f} measured, {entry.reported.miou:.2f} reported: {why}; {len(chosen)} of {len(found)} images on {device}"
    if stored:
        apart = f", but for {close} close calls" if close else ""
        detail += f"; the pixel counts of every image equal those stored{apart}"
        facts["stored_counts"] = {"equal": True, "close_calls": close}
    if verdict == "refuted" or (verdict == "inconsistent" and not stored):  # equal counts are the stronger evidence
        raise AccuracyError(detail)
    if verdict == "undecided" and not stored:
        raise _Skip("too few", detail)
    return Check("mIoU", "passed", f"{measured['mIoU']:.2f}", detail, facts)


def stored_counts(entry: Model, setting: Setting) -> dict[str, Counts] | None:
    """The reference implementation's own counts of each image, where the manifest has them."""
    if entry.counts is None:
        return None
    path = setting.fetch(entry.counts.file).path
    try:
        images = json.loads(path.read_text(encoding="utf-8"))[entry.counts.key]["per_image"]
        return {name: Counts(*(np.array(one[kind], np.int64) for kind in ("intersect", "pred", "label"))) for name, one in images.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"{entry.counts.file.name}: no per-image counts under '{entry.counts.key}': {error!r}") from error
