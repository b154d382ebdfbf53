"""The engine of the tables: which layout is this, what must be done to get another, and doing it.

`detect` and `plan` look at names and shapes only and refuse there; `run` yields one target tensor
at a time. Pure: arrays in, arrays out.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from einops import rearrange

from segzoo.errors import ConversionError
from segzoo.geometry import Geometry, Spec, measure, shape_of
from segzoo.layouts import LAYOUTS, Layout, Rule


@dataclass(frozen=True)
class Found:
    """A layout recognised in a set of names. `rules` says for each name what it holds."""

    layout: Layout
    prefix: str
    depths: dict[str, int]
    sections: tuple[str, ...]
    rules: dict[str, Rule]


@dataclass(frozen=True)
class Dropped:
    """A section that the target cannot hold, with the tensors in it."""

    section: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One tensor to be made: its rule, what it will be, and for each part the source rule and its place in it."""

    rule: Rule
    spec: Spec
    parts: tuple[tuple[Rule, int], ...]


@dataclass(frozen=True)
class Plan:
    source: Found
    target: Layout
    geometry: Geometry
    sizes: dict[str, int]
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]

    @property
    def specs(self) -> dict[str, Spec]:
        return {step.rule.key: step.spec for step in self.steps}


def detect(names: Collection[str], only: str | None = None) -> Found:
    """The layout whose expansion equals these names as a set.

    Raises ConversionError with the nearest layout's missing and unexpected names, sorted.
    """
    names = frozenset(names)
    candidates = [_read_as(LAYOUTS[name], prefix, names) for name in ([only] if only else LAYOUTS) for prefix in LAYOUTS[name].prefixes]
    nearest = max(candidates, key=lambda found: len(found.rules.keys() & names) / len(found.rules.keys() | names))
    missing, unexpected = sorted(nearest.rules.keys() - names), sorted(names - nearest.rules.keys())
    if not missing and not unexpected:
        return nearest
    if names.isdisjoint(nearest.rules):
        known = ", ".join(LAYOUTS)
        raise ConversionError(
            f"{len(names)} tensors in no layout that segzoo knows ({known}); such as {', '.join(sorted(names)[:3])}",
            hint="segzoo converts ViT weights; is this a checkpoint of another architecture?",
        )
    differences = [f"missing {_some(missing)}"] if missing else []
    differences += [f"unexpected {_some(unexpected)}"] if unexpected else []
    raise ConversionError(
        f"nearest to layout '{nearest.layout.name}', but {'; '.join(differences)}",
        hint="the file is cut short, edited, or of a variant that segzoo does not know; nothing was written",
    )


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def _read_as(layout: Layout, prefix: str, names: frozenset[str]) -> Found:
    """The names read as this layout, whether or not they fit."""
    depths = {index: _depth(layout, prefix, index, names) for index in ("i", "j")}
    sections = []
    for section in layout.sections:
        rules = layout.expand(prefix, {"i": max(depths["i"], 1), "j": max(depths["j"], 1)}, (section,))
        if section in layout.required or not names.isdisjoint(rules):
            sections.append(section)
    return Found(layout, prefix, depths, tuple(sections), layout.expand(prefix, depths, sections))


def _depth(layout: Layout, prefix: str, index: str, names: frozenset[str]) -> int:
    """How many blocks the names speak of: the highest index and one, so that a gap shows as missing names."""
    templates = {rule.at(p=prefix).key for rules in layout.sections.values() for rule in rules if f"{{{index}}}" in rule.key}
    found = [-1]
    for template in templates:
        head, tail = template.split(f"{{{index}}}")
        pattern = re.compile(re.escape(head) + r"(0|[1-9]\d{0,5})" + re.escape(tail))
        found += [int(match[1]) for match in map(pattern.fullmatch, names) if match]
    return min(max(found) + 1, len(names))  # no more blocks than names, whatever an index claims


def plan(
    specs: Mapping[str, Spec],
    to: str,
    *,
    source: str | None = None,
    heads: int | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
) -> Plan:
    """What must be done to these tensors to have them in layout `to`.

    `heads` is needed only where the target shows heads and the source does not. Sections named in
    `drop` are left out though the target could hold them; `prefix` replaces the target's own. Raises
    ConversionError when names or shapes do not fit, or the target needs what the source lacks.
    """
    found = detect(specs, source)
    geometry, sizes = measure(found.rules, specs, found.depths, heads)
    target = LAYOUTS[to]
    kept, dropped = _sections(found, target, drop)
    if prefix is None:
        decoded = any("decoder" in section for section in kept)
        prefix = (target.decoder_prefix if decoded else None) or target.prefixes[0]
    elif prefix not in target.prefixes:
        known = ", ".join(f"'{one}'" for one in target.prefixes)
        raise ConversionError(f"layout '{to}' does not stand under the prefix '{prefix}', only under {known}")
    wanted = target.expand(prefix, found.depths, kept)
    if any(axis not in sizes for rule in wanted.values() for axis in _axes(rule.axes)):
        raise ConversionError(
            f"layout '{to}' shows the attention heads, layout '{found.layout.name}' does not",
            hint="say how many with --heads N (width // 64 is right for Ti, S, B and L, and wrong for others)",
        )
    home = {name: (rule, place) for rule in found.rules.values() for place, name in enumerate(rule.holds)}
    steps = tuple(_step(rule, [home[name] for name in rule.holds], specs, sizes) for rule in wanted.values())
    return Plan(found, target, geometry, sizes, steps, dropped)


def _sections(found: Found, target: Layout, drop: Collection[str]) -> tuple[tuple[str, ...], tuple[Dropped, ...]]:
    """Which sections the target takes, and which are dropped, with the reason."""
    for section in drop:
        if section not in found.sections or section in target.required:
            may = ", ".join(f"'{one}'" for one in found.sections if one not in target.required) or "none"
            raise ConversionError(f"section '{section}' cannot be dropped; of this file can be: {may}")
    if lacking := sorted(target.required - set(found.sections)):
        raise ConversionError(f"layout '{target.name}' needs {', '.join(lacking)}, which this file does not have")
    reasons = {
        section: target.reasons.get(section, f"layout '{target.name}' has no {section}")
        for section in found.sections
        if section not in target.sections
    } | dict.fromkeys(drop, "as asked")
    if "pre_logits" in reasons and "classifier" in found.sections:
        reasons.setdefault("classifier", "it stands on the pre-logits layer, which is dropped")
    for section, other in target.excludes.items():
        if {section, other} <= set(found.sections):
            reasons.setdefault(section, f"layout '{target.name}' has no {section} on top of {other}")
    dropped = tuple(
        Dropped(section, reason, tuple(found.layout.expand(found.prefix, found.depths, (section,)))) for section, reason in reasons.items()
    )
    return tuple(section for section in found.sections if section not in reasons), dropped


def _axes(pattern: str) -> set[str]:
    return set(re.findall(r"[a-z]+", pattern)) - {"s"}


def _step(rule: Rule, parts: list[tuple[Rule, int]], specs: Mapping[str, Spec], sizes: Mapping[str, int]) -> Step:
    dtypes = {specs[home.key].dtype for home, _ in parts}
    if len(dtypes) > 1:
        keys = ", ".join(home.key for home, _ in parts)
        raise ConversionError(f"{rule.key} would join tensors of different dtypes, {', '.join(sorted(dtypes))}: {keys}")
    return Step(rule, Spec(shape_of(rule.native, sizes, len(rule.holds)), dtypes.pop()), tuple(parts))


def run(plan: Plan, source: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Make the tensors of a plan, one at a time; views where nothing must move."""
    for step in plan.steps:
        yield step.rule.key, make(step, source.__getitem__, plan.sizes)


def make(step: Step, read: Callable[[str], np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """One target tensor: its parts unpacked from the source, packed by the target's rule."""
    opened: dict[str, np.ndarray] = {}
    parts = []
    for home, place in step.parts:
        if home.key not in opened:
            opened[home.key] = _turn(read(home.key), home.native, home.canonical, len(home.holds), sizes)
        parts.append(opened[home.key][place] if len(home.holds) > 1 else opened[home.key])
    packed = np.stack(parts) if len(parts) > 1 else parts[0]
    return _turn(packed, step.rule.canonical, step.rule.native, len(step.rule.holds), sizes)


def _turn(array: np.ndarray, left: str, right: str, stacked: int, sizes: Mapping[str, int]) -> np.ndarray:
    if left == right:
        return array
    known = {**sizes, "s": stacked}
    named = {axis: known[axis] for axis in _axes(left) | ({"s"} if stacked > 1 else set())}
    return rearrange(array, f"{left} -> {right}", **named)
