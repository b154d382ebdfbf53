"""Which layout a file is in: that whose table, written out for the depth found in the names, has just these names.

Names and shapes only; what they leave open is said.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS, NAMES
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Depths, Rule, indices
from segzoo.spec import Spec

_MOST_BLOCKS = 4096
_MOST_PREFIXES = 4


@dataclass(frozen=True)
class Found:
    """A layout recognised in a file. `rules` says for each name what it holds.

    `beside` are names that are no part of the model, each with why; `buffers` those of tensors that follow from the sizes. `outer` is a prefix
    before all names that is no part of the layout. `unsure` says what names and shapes left open, and how it was read.
    """

    layout: Layout
    prefix: str
    depths: Depths
    sections: tuple[str, ...]
    rules: dict[str, Rule]
    beside: Mapping[str, Beside] = field(default_factory=dict)
    buffers: Mapping[str, tuple[Buffer, Mapping[str, int]]] = field(default_factory=dict)
    unsure: str | None = None
    outer: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how the file was read."""
        outer = f"all names are those of {self.layout.name} after '{self.outer}'" if self.outer else None
        return tuple(filter(None, (outer, self.unsure)))

    @property
    def names(self) -> set[str]:
        """Every name that is accounted for."""
        return {*self.rules, *self.beside, *self.buffers}

    def keys(self, section: str) -> tuple[str, ...]:
        """The names of the tensors in a section."""
        return tuple(self.layout.expand(self.prefix, self.depths, (section,)))


def detect(specs: Mapping[str, Spec], only: str | None = None, positions: int | None = None) -> Found:
    """The layout whose expansion equals these names as a set; shapes decide only where names leave it open.

    If none fits, what all names begin with, up to a dot, is taken for a prefix that a training program put there.
    `only` is the one layout to read it as; `positions` how many the grid has, where the caller knows.
    Raises ConversionError with the nearest layout's missing and unexpected names, sorted.
    """
    names = frozenset(specs)
    if not names:
        raise ConversionError("no tensors in it")
    readings = []
    for outer in ("", *_outer(names)):
        for found in _readings(specs, outer, only, positions):
            if found.names == names:
                return found
            readings.append(found)
    raise _no_layout(names, max(readings, key=lambda found: len(found.rules.keys() & names) / len(found.rules.keys() | names)), only)


def _readings(specs: Mapping[str, Spec], outer: str, only: str | None, positions: int | None) -> Iterator[Found]:
    """The names read as each layout under each of its prefixes, the likeliest first."""
    names = frozenset(specs)
    layouts = [layout for named in LAYOUTS.values() for name, layout in named.items() if only in (None, name)]
    tables = [table.under(outer) if outer else table for layout in layouts for table in (layout, *layout.spellings)]
    may = [(_shared(table, prefix, names), table, prefix) for table in tables for prefix in table.prefixes]
    for shared, table, prefix in sorted(may, key=lambda one: -one[0]):
        if outer and not shared:
            return
        yield replace(_read_as(table, prefix, specs, positions), outer=outer)


def _no_layout(names: frozenset[str], nearest: Found, only: str | None) -> ConversionError:
    """Why no layout fits: what the nearest one lacks and has too many."""
    missing, unexpected = sorted(nearest.rules.keys() - names), sorted(names - nearest.names)
    if only and names.isdisjoint(nearest.rules):
        return ConversionError(f"no tensor is named as in layout '{only}'", hint="leave --from out: the layout is detected")
    if names.isdisjoint(nearest.rules):
        known, number = ", ".join(NAMES), "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
        return ConversionError(
            f"{number} in no layout that segzoo knows ({known}); such as {', '.join(sorted(names)[:3])}",
            hint="segzoo converts ViT weights; is this a checkpoint of another architecture?",
        )
    differences = [f"missing {_some(missing)}"] if missing else []
    differences += [f"unexpected {_some(unexpected)}"] if unexpected else []
    cause = "the file is cut short, edited, or of a variant that segzoo does not know"
    if not missing:
        pattern = nearest.outer + unexpected[0].removeprefix(nearest.outer).split(".")[0]
        cause = f"convert --drop NAME leaves a tensor out, by name or pattern ('{pattern}.*')"
    return ConversionError(f"nearest to layout '{nearest.layout.name}', but {'; '.join(differences)}", hint=f"{cause}; nothing was written")


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def _outer(names: Collection[str]) -> list[str]:
    """What all names begin with, up to each of its first dots."""
    parts = min(names, default="").split(".", _MOST_PREFIXES)[:-1]
    prefixes = [f"{'.'.join(parts[: end + 1])}." for end in range(len(parts))]
    return [one for one in prefixes if "{" not in one and all(name.startswith(one) for name in names)]  # a brace begins a placeholder


def _shared(layout: Layout, prefix: str, names: frozenset[str]) -> int:
    """How many of the names that a layout has once are there: a cheap guess at which to read first."""
    return sum(rule.key.replace("{p}", prefix) in names for rule in layout.rules)


def _read_as(layout: Layout, prefix: str, specs: Mapping[str, Spec], positions: int | None) -> Found:
    """The names read as this layout, whether or not they fit."""
    beside = _beside(layout, prefix, specs)
    specs = {name: spec for name, spec in specs.items() if name not in beside} if beside else specs
    depths = _depths(layout, prefix, specs)
    buffers = {key: one for key, one in layout.buffers_at(prefix, depths).items() if key in specs}
    sections = _sections(layout, prefix, depths, specs, positions)
    rules = layout.expand(prefix, depths, sections)
    unsure = layout.family.unsure(rules, specs, layout.sections) if positions is None else None
    return Found(layout, prefix, depths, sections, rules, beside, buffers, unsure)


def _beside(layout: Layout, prefix: str, names: Collection[str]) -> dict[str, Beside]:
    """The names that are no part of the model."""
    kinds = [one for one in layout.beside if one.prefix in (None, prefix)]
    return {name: kind for name in names for kind in kinds if name.startswith(kind.starts)}


def _sections(layout: Layout, prefix: str, depths: Depths, specs: Mapping[str, Spec], positions: int | None) -> tuple[str, ...]:
    """The sections that are there: those with any of their names, and of those that stand for one another the ones that fit best."""
    family = layout.family
    once = Depths({index: max(depths[index], 1) for index in layout.indices - {"g", "u"}}, depths.units or (1,))
    there = {name for name in layout.sections if name == family.always or not specs.keys().isdisjoint(layout.expand(prefix, once, (name,)))}
    for choice in family.choices:
        may = [one for one in choice if layout.sections.keys() >= set(one)]
        best = max(may, key=lambda one: _fit(layout, layout.expand(prefix, depths, one), specs, positions), default=())
        there = there - {name for one in choice for name in one} | set(best)
    return tuple(name for name in layout.sections if name in there)


def _fit(layout: Layout, rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> tuple[int, bool]:
    """How well one of several choices fits: by names, then by what the family says of the shapes."""
    fit = len(rules.keys() & specs.keys()) - len(rules.keys() - specs.keys())
    return fit, layout.family.plausible(rules, specs, positions)


def _depths(layout: Layout, prefix: str, specs: Mapping[str, Spec]) -> Depths:
    """How often what repeats is there, by the names."""
    units: list[int] = []
    if "u" in layout.indices:
        while len(units) < _MOST_BLOCKS and (found := _count(layout, prefix, "u", specs, {"g": len(units)})):
            units.append(found)
    return Depths({index: _count(layout, prefix, index, specs) for index in sorted(layout.indices - {"g", "u"})}, tuple(units))


def _count(layout: Layout, prefix: str, index: str, specs: Mapping[str, Spec], places: Mapping[str, int] | None = None) -> int:
    """How many blocks the names speak of: the highest index and one, so that a gap shows as missing names.

    Where a name stands for all blocks, its shape says how many.
    """
    found = [0]
    for rule in {rule for rule in layout.rules if index in indices(rule.template)}:
        key = rule.at(prefix, places or {}).key
        if index not in indices(key):
            found += [min(spec.shape[0], _MOST_BLOCKS) for spec in [specs.get(key)] if spec and spec.shape]
            continue
        first = 1 if f"{{{index}+1}}" in key else 0
        pattern = _pattern(key, index)
        found += [min(int(match[1]) + 1 - first, len(specs)) for match in map(pattern.fullmatch, specs) if match]
    return max(found)  # no more blocks than names, whatever an index claims


def _pattern(key: str, index: str) -> re.Pattern[str]:
    """What matches a key at any of its places; its first group is the place of one index."""
    number, parts = r"(0|[1-9]\d{0,5})", re.split(r"(\{\w(?:\+1)?\})", key)
    captured = False
    for place, part in enumerate(parts):
        if not place % 2:
            parts[place] = re.escape(part)
        elif part[1] == index:
            parts[place], captured = (r"\1" if captured else number), True
        else:
            parts[place] = r"\d+"
    return re.compile("".join(parts))
