"""Which layout a file is in: the one whose table, written out for the depth found in the names, has exactly these names.

It looks at names and shapes only. What they leave open is said in `Found.unsure`.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from segzoo.conversion.misfit import misfit
from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS, choices_of
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Depths, Rule, indices
from segzoo.spec import Spec

_MOST_BLOCKS = 4096
_MOST_PREFIXES = 4


@dataclass(frozen=True)
class Found:
    """A file read as a layout.

    `rules` has the rule of each tensor, by its name in the file. `beside` has the names that are no part of the model, each with the
    reason. `buffers` has the tensors that follow from the sizes, each with the indices that it is written out for.
    `outer` is a prefix before all names that is no part of the layout. `unsure` says what names and shapes left open, and how it was read.
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
        """How the file was read, in words, where that is not plain."""
        outer = f"all names are those of {self.layout.name} after '{self.outer}'" if self.outer else None
        return tuple(filter(None, (outer, *map(self._absence, self.absent), self.unsure)))

    @property
    def absent(self) -> tuple[str, ...]:
        """The sections that files of the layout may lack, that this one lacks, and whose absence is neutral."""
        family, layout = self.layout.family, self.layout
        lacking = (section for section in layout.sections if section in layout.optional and section not in self.sections)
        return tuple(section for section in lacking if family.says_nothing(layout.sections[section]))

    def _absence(self, section: str) -> str:
        zeros = any(self.layout.family.neutral_of(name) == 0 for rule in self.layout.sections[section] for name in rule.holds)
        return f"no {section} in it, which means the same as {'zeros' if zeros else 'ones'}"

    @property
    def held(self) -> set[str]:
        """The names of the canonical tensors in the file."""
        return {name for rule in self.rules.values() for name in rule.holds}

    @property
    def names(self) -> set[str]:
        """Every name that the layout explains."""
        return {*self.rules, *self.beside, *self.buffers}

    def keys(self, section: str) -> tuple[str, ...]:
        """The names of the tensors in a section."""
        return tuple(self.layout.expand(self.prefix, self.depths, (section,)))


def detect(specs: Mapping[str, Spec], only: str | None = None, positions: int | None = None) -> Found:
    """The layout whose names are these names, as a set. Shapes decide only where names fit two readings.

    If no layout fits, what most names begin with, up to a dot, is taken for a prefix that a training program put there.
    `only` names the one layout to read it as. `positions` is how many positions the grid has, if the caller knows.
    Raises ConversionError with the nearest layout's missing and unexpected names, sorted.
    """
    names = frozenset(specs)
    if not names:
        raise ConversionError("no tensors in it")
    found, readings = _fitting(specs, only, positions)
    if found:
        return found

    def fits(some: Collection[str]) -> bool:
        return _fitting({name: specs[name] for name in some}, only, positions)[0] is not None

    nearest = max(readings, key=lambda found: len(found.rules.keys() & names) / len(found.rules.keys() | names))
    raise misfit(names, nearest, only, fits)


def _fitting(specs: Mapping[str, Spec], only: str | None, positions: int | None) -> tuple[Found | None, list[Found]]:
    """The first reading whose names are these names, and all that were tried."""
    names, readings = frozenset(specs), []
    for outer in ("", *_outer(names)):
        for found in _readings(specs, outer, only, positions):
            readings.append(found)
            if found.names == names:
                return found, readings
    return None, readings


def _readings(specs: Mapping[str, Spec], outer: str, only: str | None, positions: int | None) -> Iterator[Found]:
    """The file read as each layout, with each of its spellings and prefixes; the likeliest reading first."""
    names = frozenset(specs)
    layouts = [layout for named in LAYOUTS.values() for name, layout in named.items() if only in (None, name)]
    tables = [table.under(outer) if outer else table for layout in layouts for table in (layout, *layout.spellings)]
    may = [(_shared(table, prefix, names), table, prefix) for table in tables for prefix in table.prefixes]
    for shared, table, prefix in sorted(may, key=lambda one: -one[0]):
        if outer and not shared:  # nothing speaks for this outer prefix, and the readings that follow share no name either
            return
        yield replace(_read_as(table, prefix, specs, positions), outer=outer)


def _outer(names: Collection[str]) -> list[str]:
    """The prefixes that most names share: up to the first dot, up to the second, and so on."""
    counted: Counter[str] = Counter()
    for name in names:
        parts = name.split(".", _MOST_PREFIXES)[:-1]
        counted.update(f"{'.'.join(parts[: end + 1])}." for end in range(len(parts)))
    shared = (one for one, number in counted.items() if 2 * number > len(names) and "{" not in one)  # a brace would be read as a placeholder
    return sorted(shared, key=len)


def _shared(layout: Layout, prefix: str, names: frozenset[str]) -> int:
    """How many of the names without an index are in the file: a cheap guess at which layout to read first."""
    return sum(rule.key.replace("{p}", prefix) in names for rule in layout.rules)


def _read_as(layout: Layout, prefix: str, specs: Mapping[str, Spec], positions: int | None) -> Found:
    """The file read as this layout, whether or not all names fit."""
    beside = _beside(layout, prefix, specs)
    specs = {name: spec for name, spec in specs.items() if name not in beside} if beside else specs
    depths = _depths(layout, prefix, specs)
    buffers = {key: one for key, one in layout.buffers_at(prefix, depths).items() if key in specs}
    sections = _sections(layout, prefix, depths, specs, positions)
    rules = layout.expand(prefix, depths, sections)
    unsure = layout.family.unsure(rules, specs, layout.sections) if positions is None else None
    return Found(layout, prefix, depths, sections, rules, beside, buffers, unsure)


def _beside(layout: Layout, prefix: str, names: Collection[str]) -> dict[str, Beside]:
    """The names that the layout says are no part of the model."""
    kinds = [one for one in layout.beside if one.prefix in (None, prefix)]
    return {name: kind for name in names for kind in kinds if name.startswith(kind.starts) or name.endswith(kind.ends)}


def _sections(layout: Layout, prefix: str, depths: Depths, specs: Mapping[str, Spec], positions: int | None) -> tuple[str, ...]:
    """The sections that the file has: each with at least one name in it, and of alternatives the one that fits best."""
    family = layout.family
    # At least one of each: a stage without units still shows its section, so that the error can name what is missing.
    at_least_one = Depths({index: max(depths[index], 1) for index in layout.indices - {"g", "u"}}, depths.units or (1,))
    there = {name for name in layout.sections if name == family.always or not specs.keys().isdisjoint(layout.expand(prefix, at_least_one, (name,)))}
    for choice in choices_of(family):
        alternatives = [sections for sections in choice if layout.sections.keys() >= set(sections)]
        best = max(alternatives, key=lambda sections: _fit(layout, layout.expand(prefix, depths, sections), specs, positions), default=())
        there = there - {name for sections in choice for name in sections} | set(best)
    return tuple(name for name in layout.sections if name in there)


def _fit(layout: Layout, rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> tuple[int, bool]:
    """How well one alternative fits: first by names (those there less those missing), then by what the family says of the shapes."""
    fit = len(rules.keys() & specs.keys()) - len(rules.keys() - specs.keys())
    return fit, layout.family.plausible(rules, specs, positions)


def _depths(layout: Layout, prefix: str, specs: Mapping[str, Spec]) -> Depths:
    """How many blocks, stages and units the names speak of."""
    units: list[int] = []
    if "u" in layout.indices:
        while len(units) < _MOST_BLOCKS and (found := _count(layout, prefix, "u", specs, {"g": len(units)})):
            units.append(found)
    elif "g" in layout.indices:
        units = [0] * _count(layout, prefix, "g", specs)
    return Depths({index: _count(layout, prefix, index, specs) for index in sorted(layout.indices - {"g", "u"})}, tuple(units))


def _count(layout: Layout, prefix: str, index: str, specs: Mapping[str, Spec], places: Mapping[str, int] | None = None) -> int:
    """How many blocks an index counts. `places` fills in the other indices, where it matters which they are."""
    keys = {rule.at(prefix, places or {}).key for rule in layout.rules if index in indices(rule.template)}
    return max((_numbered(key, index, specs) if index in indices(key) else _stacked(key, specs) for key in keys), default=0)


def _stacked(key: str, specs: Mapping[str, Spec]) -> int:
    """How many blocks are stacked in one tensor; 0 if it is not there."""
    spec = specs.get(key)
    return min(spec.shape[0], _MOST_BLOCKS) if spec and spec.shape else 0


def _numbered(key: str, index: str, specs: Mapping[str, Spec]) -> int:
    """One more than the highest index in the names of this form, so that a gap shows as missing names; 0 if there is no such name."""
    first = 1 if f"{{{index}+1}}" in key else 0
    pattern = _pattern(key, index)
    numbers = [int(match[1]) for match in map(pattern.fullmatch, specs) if match]
    blocks = max(numbers, default=first - 1) + 1 - first
    return min(blocks, len(specs))  # a name may claim any index, but there are no more blocks than names


def _pattern(key: str, index: str) -> re.Pattern[str]:
    """A pattern for a key with any numbers for its indices. Its first group is the number of `index`."""
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
