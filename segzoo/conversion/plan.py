"""What must be done to have the tensors of a file in another layout, by names and shapes only. What cannot be done is refused here."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from segzoo.conversion.axes import dimensions, measure, shape_of
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.fit import layout_of, left_out, refusal
from segzoo.errors import ConversionError
from segzoo.layouts import head_of
from segzoo.layouts.family import Geometry
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Buffer, Nested, Rule, axes_of
from segzoo.spec import Spec


@dataclass(frozen=True)
class Dropped:
    """A section that the target cannot hold, with the tensors in it."""

    section: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A canonical tensor in a file: the rule that holds it, and its place in that."""

    home: Rule
    place: int


@dataclass(frozen=True)
class Neutral:
    """A canonical tensor that a file lacks and that means the same when it is full of one number."""

    value: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One tensor to be made: its rule, what it will be, and its parts."""

    rule: Rule
    spec: Spec
    parts: tuple[Part | Neutral, ...]


@dataclass(frozen=True)
class Must:
    """A part of the source that the target has no place for. It may go if it is full of the number whose absence means the same."""

    part: Part
    value: int


@dataclass(frozen=True)
class Plan:
    """`target` is read as a file in it would be. `buffers` are to be written beside the steps; `musts` hold for the source's numbers."""

    source: Found
    target: Found
    geometry: Geometry
    sizes: dict[str, int]
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]
    musts: tuple[Must, ...] = ()

    @property
    def layout(self) -> Layout:
        """The layout that is written."""
        return self.target.layout

    @property
    def buffers(self) -> dict[str, tuple[Buffer, Mapping[str, int]]]:
        return {key: one for key, one in self.target.buffers.items() if one[0].written}

    @property
    def specs(self) -> dict[str, Spec]:
        """What will be written."""
        buffers = {key: Spec(_shape(buffer.value(self.sizes, places)), "int64") for key, (buffer, places) in self.buffers.items()}
        return {step.rule.key: step.spec for step in self.steps} | buffers

    @property
    def filled(self) -> tuple[str, ...]:
        """The tensors that the source lacks, in part or as a whole, and that mean the same as its lack of them."""
        return tuple(step.rule.key for step in self.steps if any(isinstance(part, Neutral) for part in step.parts))


def plan(
    specs: Mapping[str, Spec],
    to: str | Layout,
    *,
    found: Found | None = None,
    heads: int | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
) -> Plan:
    """What must be done to these tensors to have them in layout `to`, a name or a table.

    `found` is what they are, where the caller knows it already. `heads` is needed only where the target
    shows heads and the source does not. Sections named in `drop` are left out though the target could hold
    them; `prefix` replaces the target's own. Raises ConversionError when names or shapes do not fit, or the
    target has no place for what the source cannot do without.
    """
    found = found or detect(specs)
    geometry, sizes = measure(found, specs, heads)
    target = layout_of(found, to)
    if why := refusal(found, target):
        raise ConversionError(why)
    _check_drops(found, drop)
    reasons = left_out(found, target, drop)
    kept = [section for section in found.sections if section not in reasons]
    written = _read_back_as(found, target, kept, _prefix(target, kept, prefix))
    if found.unsure and target.name != found.layout.name and (confirmed := found.layout.family.confirm(geometry)):
        raise ConversionError(f"{found.unsure}, {confirmed}", hint="names and shapes leave it open, and a guess would be silent")
    _check_axes(written, sizes, found)
    steps = fill(written.rules, found, specs, sizes, neutral=True)
    if lacking := sorted(written.rules.keys() - {step.rule.key for step in steps}):
        raise ConversionError(f"layout '{target.name}' needs {lacking[0]}, for which this file has nothing")
    idle, musts = _leftover(found, written, kept)
    dropped = [Dropped(section, reason, found.keys(section)) for section, reason in reasons.items()]
    return Plan(found, written, geometry, sizes, steps, (*dropped, *idle, *_beside(found)), musts)


def _check_drops(found: Found, drop: Collection[str]) -> None:
    optional = [section for section in found.sections if section not in found.layout.family.essential]
    if wrong := [section for section in drop if section not in optional]:
        may = ", ".join(f"'{one}'" for one in optional) or "none"
        raise ConversionError(f"section '{wrong[0]}' cannot be dropped; of this file can be: {may}")


def _prefix(target: Layout, kept: Collection[str], asked: str | None) -> str:
    """What the target's names stand under. Raises ConversionError for what they cannot stand under."""
    headed = head_of(kept) is not None
    if asked is None:
        return (target.decoder_prefix if headed else None) or target.prefixes[0]
    if asked not in target.prefixes:
        known = ", ".join(f"'{one}'" for one in target.prefixes)
        raise ConversionError(f"layout '{target.name}' does not stand under the prefix '{asked}', only under {known}")
    if target.decoder_prefix and asked != target.decoder_prefix and headed:
        raise ConversionError(f"beside a decoder, layout '{target.name}' stands under the prefix '{target.decoder_prefix}' only")
    return asked


def _read_back_as(found: Found, target: Layout, kept: list[str], prefix: str) -> Found:
    """What the written file will be read as: the sections that are kept, and those that are neutral and that the target's files have."""
    family = found.layout.family
    neutral = [
        section
        for section, rules in target.sections.items()
        if section not in found.sections
        and section not in target.optional
        and all(family.neutral_of(name) is not None for rule in rules for name in rule.holds)
    ]
    sections = tuple(section for section in target.sections if section in kept or section in neutral)
    rules = target.expand(prefix, found.depths, sections)
    return Found(target, prefix, found.depths, sections, rules, buffers=target.buffers_at(prefix, found.depths))


def _check_axes(written: Found, sizes: Mapping[str, int], found: Found) -> None:
    """Raises ConversionError where the target shows a size that the source does not: the attention heads."""
    if any(axis not in sizes for rule in written.rules.values() for axis in axes_of(rule.axes) - {"s"}):
        raise ConversionError(
            f"layout '{written.layout.name}' shows the attention heads, layout '{found.layout.name}' does not",
            hint="say how many with --heads N (width // 64 is right for Ti, S, B and L, and wrong for others)",
        )


def fill(wanted: Mapping[str, Rule], found: Found, specs: Mapping[str, Spec], sizes: Mapping[str, int], *, neutral: bool = False) -> tuple[Step, ...]:
    """The steps that make those of the wanted tensors of which a file has all parts; with `neutral` also those whose lack means a number."""
    home = {name: Part(rule, place) for rule in found.rules.values() for place, name in enumerate(rule.holds)}
    most = Counter(spec.dtype for spec in specs.values()).most_common(1)[0][0]
    steps = []
    for rule in wanted.values():
        values = [found.layout.family.neutral_of(name) if neutral else None for name in rule.holds]
        if all(name in home or value is not None for name, value in zip(rule.holds, values, strict=True)):
            shapes = part_shapes(rule, sizes)
            parts = [home.get(name) or Neutral(value or 0, shape) for name, value, shape in zip(rule.holds, values, shapes, strict=True)]
            steps.append(_step(rule, parts, specs, sizes, most))
    return tuple(steps)


def part_shapes(rule: Rule, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """The shape of each canonical tensor that a rule holds."""
    dims = dimensions(rule.native)
    joined = next((axis for axis, terms in enumerate(dims) if len(terms) > 1), None)
    if joined is not None:
        whole = shape_of(rule.native, sizes)
        lengths = [shape_of(" ".join(term) if len(term) == 1 else f"({' '.join(term)})", sizes)[0] for term in dims[joined]]
        return [(*whole[:joined], length, *whole[joined + 1 :]) for length in lengths]
    shape = shape_of(rule.canonical, sizes, len(rule.holds))
    return [shape[1:]] * len(rule.holds) if "s" in axes_of(rule.axes) else [shape]


def _step(rule: Rule, parts: list[Part | Neutral], specs: Mapping[str, Spec], sizes: Mapping[str, int], otherwise: str) -> Step:
    homes = [part.home for part in parts if isinstance(part, Part)]
    dtypes = {specs[home.key].dtype for home in homes} or {"int64" if rule.native == "" else otherwise}
    if len(dtypes) > 1:
        keys = ", ".join(home.key for home in homes)
        raise ConversionError(
            f"{rule.key} would join tensors of different dtypes, {', '.join(sorted(dtypes))}: {keys}", hint="--dtype gives all the same"
        )
    return Step(rule, Spec(shape_of(rule.native, sizes, len(rule.holds)), dtypes.pop()), tuple(parts))


def _shape(value: Nested) -> tuple[int, ...]:
    return (len(value), *_shape(value[0])) if isinstance(value, list) else ()


def _leftover(found: Found, written: Found, kept: Collection[str]) -> tuple[list[Dropped], tuple[Must, ...]]:
    """The parts of kept sections that the target has no place for: what no forward pass uses is dropped, the rest must be neutral.

    Raises ConversionError where a part is neither.
    """
    held = {name for rule in written.rules.values() for name in rule.holds}
    family = found.layout.family
    idle: dict[str, list[str]] = {}
    musts = []
    for key in (key for section in kept for key in found.keys(section)):
        rule = found.rules[key]
        for place, name in enumerate(rule.holds):
            if name in held:
                continue
            if reason := family.idle_of(name):
                idle.setdefault(reason, []).append(key)
            elif (value := family.neutral_of(name)) is not None:
                musts.append(Must(Part(rule, place), value))
            else:
                raise ConversionError(f"{key}: layout '{written.layout.name}' has no place for it")
    return [Dropped("unused", reason, tuple(keys)) for reason, keys in idle.items()], tuple(musts)


def _beside(found: Found) -> list[Dropped]:
    """What is no part of the model, by kind."""
    kinds = dict.fromkeys(found.beside.values())
    return [Dropped(kind.section, kind.reason, tuple(name for name, of in found.beside.items() if of is kind)) for kind in kinds]
