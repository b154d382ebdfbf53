"""What must be done to bring a file to another layout, by names and shapes only. What cannot be done is refused here."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from segzoo.conversion.axes import joint, lengths, measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.fit import layout_of, left_out, refusal, unlike
from segzoo.errors import ConversionError
from segzoo.layouts import head_of, neck_of
from segzoo.layouts.dimensions import shape_of
from segzoo.layouts.family import Geometry
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Buffer, Nested, Rule, axes_of
from segzoo.spec import Spec
from segzoo.text import quoted


@dataclass(frozen=True)
class Dropped:
    """Tensors that are not written, under the name of their section, with the reason."""

    section: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Where a canonical tensor is in a file: the rule that holds it, and its place among what that rule holds."""

    home: Rule
    place: int


@dataclass(frozen=True)
class Neutral:
    """A canonical tensor that a file lacks. Full of `value`, it means the same as its absence."""

    value: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One tensor to make: its rule in the target, its shape and dtype, and the parts that it is made of."""

    rule: Rule
    spec: Spec
    parts: tuple[Part | Neutral, ...]


@dataclass(frozen=True)
class Must:
    """A condition that `run` checks: this part of the source, which the target has no place for, is full of `value`.

    Then it may be left out, since its absence means the same. Planning cannot tell: it does not look at numbers.
    """

    part: Part
    value: int


@dataclass(frozen=True)
class Plan:
    """Steps from one file to another, and what is dropped on the way.

    `target` is how the finished file will be read. `musts` are conditions on the source's numbers. `geometry` and `sizes` are the source's.
    """

    source: Found
    target: Found
    geometry: Geometry
    sizes: dict[str, int]
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]
    musts: tuple[Must, ...] = ()

    @property
    def layout(self) -> Layout:
        """The target's layout."""
        return self.target.layout

    @property
    def buffers(self) -> dict[str, tuple[Buffer, Mapping[str, int]]]:
        """The buffers to write beside the steps, each with the indices that it is written out for."""
        return {key: one for key, one in self.target.buffers.items() if one[0].written}

    @property
    def specs(self) -> dict[str, Spec]:
        """The shape and dtype of every tensor that will be written."""
        buffers = {key: Spec(_shape(buffer.value(self.sizes, places)), "int64") for key, (buffer, places) in self.buffers.items()}
        return {step.rule.key: step.spec for step in self.steps} | buffers

    @property
    def filled(self) -> dict[str, int]:
        """What is filled in as neutral, since no tensor of the source has it, with the number that it is full of.

        A tensor to write is called by its name, a part of one also by its canonical name.
        """
        found = {}
        for step in self.steps:
            for name, part in zip(step.rule.holds, step.parts, strict=True):
                if isinstance(part, Neutral):
                    whole = all(isinstance(one, Neutral) for one in step.parts)
                    found[step.rule.key if whole else f"{name.rpartition('.')[0].rpartition('.')[2]} in {step.rule.key}"] = part.value
        return found


def plan(
    specs: Mapping[str, Spec],
    to: str | Layout,
    *,
    found: Found | None = None,
    heads: int | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
) -> Plan:
    """The steps that bring these tensors to layout `to`, a name or a table.

    `found` is how the tensors are read, if the caller knows it already. `heads` is needed only if the target
    shows the attention heads and the source does not. Sections named in `drop` are left out although the target
    could hold them. `prefix` replaces the target's first prefix. Raises ConversionError if names or shapes do
    not fit, if the target has no place for an essential section, or another network in place of one.
    """
    found = found or detect(specs)
    geometry, sizes = measure(found, specs, heads)
    target = layout_of(found, to)
    if why := refusal(found, target):
        raise ConversionError(why)
    _check_drops(found, drop)
    if other := {section: how for section, how in unlike(found, target).items() if section not in drop}:
        section, how = next(iter(other.items()))
        raise ConversionError(
            f"{found.layout.name} cannot become {target.name} with its {section}: the network that '{target.name}' has there is another one: {how}",
            hint=f"--drop {quoted(section)} converts the backbone alone",
        )
    reasons = left_out(found, target, drop)
    kept = [section for section in found.sections if section not in reasons]
    written = _as_written(found, target, kept, _prefix(target, kept, prefix))
    if found.unsure and target.name != found.layout.name and (confirmed := found.layout.family.confirm(geometry)):
        raise ConversionError(f"{found.unsure}, {confirmed}", hint="names and shapes leave it open, and a guess would be silent")
    _check_axes(written, sizes, found)
    steps = steps_for(written.rules, found, specs, sizes, neutral=True)
    if lacking := sorted(written.rules.keys() - {step.rule.key for step in steps}):
        raise ConversionError(f"layout '{target.name}' needs {lacking[0]}, for which this file has nothing")
    idle, musts = _without_place(found, written, kept)
    dropped = [Dropped(section, reason, found.keys(section)) for section, reason in reasons.items()]
    return Plan(found, written, geometry, sizes, steps, (*dropped, *idle, *_beside(found)), musts)


def _check_drops(found: Found, drop: Collection[str]) -> None:
    """Raises ConversionError for a section that the file does not have, or that is essential."""
    optional = [section for section in found.sections if section not in found.layout.family.essential]
    if wrong := [section for section in drop if section not in optional]:
        may = ", ".join(f"'{one}'" for one in optional) or "none"
        raise ConversionError(f"section '{wrong[0]}' cannot be dropped; of this file can be: {may}")


def _prefix(target: Layout, kept: Collection[str], asked: str | None) -> str:
    """The prefix to write before the target's names. Raises ConversionError if the one asked for is not possible."""
    headed = bool(head_of(kept) or neck_of(kept))
    if asked is None:
        return (target.decoder_prefix if headed else None) or target.prefixes[0]
    if asked not in target.prefixes:
        known = ", ".join(f"'{one}'" for one in target.prefixes)
        raise ConversionError(f"layout '{target.name}' does not stand under the prefix '{asked}', only under {known}")
    if target.decoder_prefix and asked != target.decoder_prefix and headed:
        raise ConversionError(f"beside a decoder, layout '{target.name}' stands under the prefix '{target.decoder_prefix}' only")
    return asked


def _as_written(found: Found, target: Layout, kept: list[str], prefix: str) -> Found:
    """How the finished file will be read: its sections are those kept, and neutral ones.

    A neutral section is written if it has a place for a tensor that is kept and has none yet, or if the target's files always have it.
    """
    waiting = {name for section in kept for key in found.keys(section) for name in found.rules[key].holds}
    chosen = {section for section in kept if section in target.sections}

    def held(section: str) -> set[str]:
        return {name for rule in target.expand(prefix, found.depths, (section,)).values() for name in rule.holds}

    for section in chosen:
        waiting -= held(section)
    for section, own in target.sections.items():
        if section in chosen or section in found.sections or not found.layout.family.says_nothing(own):
            continue
        always = section not in target.optional and target.unless.get(section) not in chosen
        if always or not waiting.isdisjoint(held(section)):
            chosen.add(section)
            waiting -= held(section)
    sections = tuple(section for section in target.sections if section in chosen)
    rules = target.expand(prefix, found.depths, sections)
    return Found(target, prefix, found.depths, sections, rules, buffers=target.buffers_at(prefix, found.depths))


def _check_axes(written: Found, sizes: Mapping[str, int], found: Found) -> None:
    """Raises ConversionError if the target shows a size that is not known, such as the attention heads."""
    shown = {axis for rule in written.rules.values() for axis in axes_of(rule.axes) - {"s"}}
    if lacking := sorted(shown - sizes.keys()):
        what, hint = found.layout.family.asked.get(lacking[0], (f"the size of axis '{lacking[0]}'", None))
        raise ConversionError(f"layout '{written.layout.name}' shows {what}, layout '{found.layout.name}' does not", hint=hint)


def steps_for(
    wanted: Mapping[str, Rule], found: Found, specs: Mapping[str, Spec], sizes: Mapping[str, int], *, neutral: bool = False
) -> tuple[Step, ...]:
    """The steps for the wanted tensors that a file has all parts of. With `neutral`, parts that are neutral may be lacking."""
    home = {name: Part(rule, place) for rule in found.rules.values() for place, name in enumerate(rule.holds)}
    values = {name: found.layout.family.neutral_of(name) for rule in wanted.values() for name in rule.holds} if neutral else {}
    neutrals = {name: value for name, value in values.items() if value is not None}
    there = home.keys() | neutrals.keys()
    most = Counter(spec.dtype for spec in specs.values()).most_common(1)[0][0]
    steps = []
    for rule in wanted.values():
        if there >= set(rule.holds):
            parts = [home.get(name) or Neutral(neutrals[name], shape) for name, shape in zip(rule.holds, part_shapes(rule, sizes), strict=True)]
            steps.append(_step(rule, parts, specs, sizes, most))
    return tuple(steps)


def part_shapes(rule: Rule, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """The shape of each canonical tensor that a rule holds."""
    if joined := joint(rule):
        place, terms = joined
        whole = shape_of(rule.canonical, sizes)
        return [(*whole[:place], length, *whole[place + 1 :]) for length in lengths(terms, sizes)]
    shape = shape_of(rule.canonical, sizes, len(rule.holds))
    return [shape[1:]] * len(rule.holds) if "s" in axes_of(rule.axes) else [shape]


def _step(rule: Rule, parts: list[Part | Neutral], specs: Mapping[str, Spec], sizes: Mapping[str, int], otherwise: str) -> Step:
    """The step for one tensor. Its dtype is that of its parts; a tensor of neutral parts only has the dtype `otherwise`, a count int64."""
    homes = [part.home for part in parts if isinstance(part, Part)]
    dtypes = {specs[home.key].dtype for home in homes} or {"int64" if rule.native == "" else otherwise}
    if len(dtypes) > 1:
        keys = ", ".join(home.key for home in homes)
        raise ConversionError(
            f"{rule.key} would join tensors of different dtypes, {', '.join(sorted(dtypes))}: {keys}", hint="--dtype gives all the same"
        )
    return Step(rule, Spec(shape_of(rule.native, sizes, len(rule.holds)), dtypes.pop()), tuple(parts))


def _shape(value: Nested) -> tuple[int, ...]:
    """The shape of nested lists, or of a view."""
    if isinstance(value, memoryview):
        return value.shape or ()
    return (len(value), *_shape(value[0])) if isinstance(value, list) else ()


def _without_place(found: Found, written: Found, kept: Collection[str]) -> tuple[list[Dropped], tuple[Must, ...]]:
    """What becomes of parts of kept sections that the target has no place for. Idle parts are dropped, the others must be neutral.

    Raises ConversionError for a part that can be neither.
    """
    held = written.held
    rules = [found.rules[key] for section in kept for key in found.keys(section)]
    unplaced = [(rule, place, name) for rule in rules for place, name in enumerate(rule.holds) if name not in held]
    idle: dict[str, list[str]] = {}
    musts = []
    for rule, place, name in unplaced:
        if reason := found.layout.family.idle_of(name):
            idle.setdefault(reason, []).append(rule.key)
        elif (value := found.layout.family.neutral_of(name)) is not None:
            musts.append(Must(Part(rule, place), value))
        else:
            raise ConversionError(f"{rule.key}: layout '{written.layout.name}' has no place for it")
    return [Dropped("unused", reason, tuple(keys)) for reason, keys in idle.items()], tuple(musts)


def _beside(found: Found) -> list[Dropped]:
    """The tensors that are no part of the model, by kind."""
    kinds = dict.fromkeys(found.beside.values())
    return [Dropped(kind.section, kind.reason, tuple(name for name, of in found.beside.items() if of is kind)) for kind in kinds]
