"""Which layout a file is in: the one whose table, written out for the depth found in the names, has exactly these names.

It looks at names and shapes only. What they leave open is said in `Found.unsure`.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, count, takewhile

from segzoo.conversion.lora import of_an_adapter
from segzoo.conversion.misfit import in_parts, misfit, of_a_video
from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS, choices_of
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Buffer, Depths, Rule, indices
from segzoo.spec import Spec

_MOST_BLOCKS = 512
_MOST_PREFIXES = 4
_MOST_NEAR = 8  # readings that are written out to find the nearest
_NUMBER = re.compile(r"[\d#]+")
_PLACE = re.compile(r"\{\w(?:\+1|:even|:odd)?\}")


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
        variants = [f"{one}: another model than with it" for one in self.sections if not self.layout.sections[one]]
        return tuple(filter(None, (outer, *map(self._absence, self.absent), *variants, self.unsure, self.layout.family.lookalike(self.sections))))

    @property
    def absent(self) -> tuple[str, ...]:
        """The sections that files of the layout may lack, that this one lacks, and whose absence is neutral."""
        family, layout = self.layout.family, self.layout
        lacking = (section for section in layout.sections if section in {*layout.optional, *layout.unless} and section not in self.sections)
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


class _Names:
    """The names of a file, sorted by form: the name with `#` for each of its numbers. A table is compared with forms before it is written
    out, since a file of foreign names has few of them in common with any table, and a name may claim any number of blocks.
    """

    def __init__(self, specs: Mapping[str, Spec]):
        self.specs = specs
        self.all = frozenset(specs)
        self.by_form: dict[str, list[str]] = {}
        for name in specs:
            self.by_form.setdefault(_form(name), []).append(name)

    def covered(self, forms: Collection[str]) -> int:
        """How many names have one of these forms."""
        return sum(len(self.by_form.get(form, ())) for form in forms)


def _form(name: str) -> str:
    return _NUMBER.sub("#", name)


def _forms(layout: Layout, prefix: str) -> set[str]:
    """The forms of the names in a table."""
    keys = (*(rule.key for rule in layout.rules), *(buffer.key for buffer in layout.buffers))
    return {_form(_PLACE.sub("#", key.replace("{p}", prefix))) for key in keys}


def detect(specs: Mapping[str, Spec], only: str | None = None, positions: int | None = None) -> Found:
    """The layout whose names are these names, as a set. Shapes decide only where names fit two readings.

    If no layout fits, what most names begin with, up to a dot, is taken for a prefix that a training program put there.
    `only` names the one layout to read it as. `positions` is how many positions the grid has, if the caller knows.
    Raises ConversionError with the nearest layout's missing and unexpected names, sorted.
    """
    if not specs:
        raise ConversionError("no tensors in it")
    if refused := in_parts(specs) or of_a_video(specs):
        raise refused
    names = _Names(specs)
    found, readings = _fitting(names, only, positions)
    if found:
        return found

    def fits(some: Collection[str]) -> bool:
        return bool(some) and _fitting(_Names({name: specs[name] for name in some}), only, positions)[0] is not None

    near = sorted(readings, key=lambda reading: -reading.covered)[:_MOST_NEAR]
    near = [one for one in near if 2 * one.covered >= near[0].covered]
    nearest = max((one.read(names, positions) for one in near), key=lambda found: _alike(found.rules, names.all))
    raise of_an_adapter(names.all) or misfit(names.all, nearest, only, fits)


@dataclass(frozen=True)
class _Reading:
    """A way to read a file: a table, under a prefix, after an outer prefix. `covered` counts the names that have a form of the table."""

    layout: Layout
    prefix: str
    outer: str
    covered: int

    def read(self, names: _Names, positions: int | None) -> Found:
        return replace(_read_as(self.layout, self.prefix, names, positions), outer=self.outer)


def _fitting(names: _Names, only: str | None, positions: int | None) -> tuple[Found | None, list[_Reading]]:
    """The first reading whose names are these names, and all that there are. One whose tensors have as many dimensions and plausible sizes goes
    first.
    """
    readings: list[_Reading] = []
    named = None
    for outer in ("", *_outer(names.all)):
        for layout, prefix in _tables(names, outer, only):
            forms = _forms(layout, prefix)
            readings.append(_Reading(layout, prefix, outer, names.covered(forms)))
            if _all_known(names, layout, forms) and (found := readings[-1].read(names, positions)).names == names.all:
                ranked = all(len(names.specs[name].shape) == rule.rank for name, rule in found.rules.items())
                if ranked and layout.family.plausible(found.rules, names.specs, positions):
                    return found, readings
                named = named or found
    return named, readings


def _tables(names: _Names, outer: str, only: str | None) -> Iterator[tuple[Layout, str]]:
    """Each layout, with each of its spellings and prefixes; the likeliest first."""
    layouts = [layout for named in LAYOUTS.values() for name, layout in named.items() if only == name or (only is None and not layout.explicit)]
    tables = [table.under(outer) if outer else table for layout in layouts for table in (layout, *layout.spellings)]
    may = [(_shared(table, prefix, names.all), table, prefix) for table in tables for prefix in table.prefixes]
    for shared, table, prefix in sorted(may, key=lambda one: -one[0]):
        if outer and not shared:  # nothing speaks for this outer prefix, and those that follow share no name either
            return
        yield table, prefix


def _all_known(names: _Names, layout: Layout, forms: Collection[str]) -> bool:
    """Whether each name has a form of the table, or may be beside the model. Else the file cannot be one of this layout."""
    starts = tuple(_form(start) for beside in layout.beside for start in beside.starts)
    ends = tuple(_form(end) for beside in layout.beside for end in beside.ends)
    return all(form in forms or form.startswith(starts) or form.endswith(ends) for form in names.by_form)


def _outer(names: Collection[str]) -> list[str]:
    """The prefixes that most names share: up to the first dot, up to the second, and so on. There is at most one up to each dot."""
    found, start = [], ""
    for _ in range(_MOST_PREFIXES):
        words = Counter(word for word, dot, _ in (name[len(start) :].partition(".") for name in names if name.startswith(start)) if dot)
        word, number = next(iter(words.most_common(1)), ("", 0))
        start = f"{start}{word}."
        if 2 * number <= len(names) or "{" in word:  # a brace would be read as a placeholder
            break
        found.append(start)
    return found


def _shared(layout: Layout, prefix: str, names: frozenset[str]) -> int:
    """How many of the names without an index are in the file: a cheap guess at which layout to read first."""
    return sum(rule.key.replace("{p}", prefix) in names for rule in layout.rules)


def _read_as(layout: Layout, prefix: str, names: _Names, positions: int | None) -> Found:
    """The file read as this layout, whether or not all names fit."""
    specs, beside = names.specs, _beside(layout, prefix, names.specs)
    if beside:
        specs = {name: spec for name, spec in specs.items() if name not in beside}
        names = _Names(specs)
    depths = _depths(layout, prefix, names)
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
    there |= {section for section, other in layout.unless.items() if other not in there} | layout.needs
    return tuple(name for name in layout.sections if name in there)


def _shared_by(rules: Mapping[str, Rule], names: Collection[str]) -> int:
    """How many of a table's names are among these. A file of foreign names has far more than any table, so these are not gone through."""
    return sum(key in names for key in rules)


def _alike(rules: Mapping[str, Rule], names: Collection[str]) -> float:
    """Of the names that a table or a file has, the share that both have."""
    shared = _shared_by(rules, names)
    return shared / (len(rules) + len(names) - shared)


def _fit(layout: Layout, rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> tuple[int, bool]:
    """How well one alternative fits: first by names (those there less those missing), then by what the family says of the shapes."""
    return 2 * _shared_by(rules, specs) - len(rules), layout.family.plausible(rules, specs, positions)


def _depths(layout: Layout, prefix: str, names: _Names) -> Depths:
    """How many blocks, stages and units the names speak of: one more than the highest index, so that a gap shows as missing names.

    A name may claim any index. No table is written out for more than `_MOST_BLOCKS`; what is beyond shows as unexpected names.
    """
    highest = dict.fromkeys(layout.indices, 0)
    units: dict[int, int] = {}
    for key in {rule.key.replace("{p}", prefix) for rule in layout.rules}:
        for places in _places(key, names):
            for index, place in places.items():
                highest[index] = max(highest[index], place + 1)
            if "u" in places:
                units[places["g"]] = max(units.get(places["g"], 0), places["u"] + 1)
    blocks = {index: min(found or _stacked(layout, prefix, index, names.specs), _MOST_BLOCKS) for index, found in highest.items()}
    listed = list(takewhile(bool, (min(units.get(stage, 0), _MOST_BLOCKS) for stage in count()))) if "u" in blocks else [0] * blocks.get("g", 0)
    kept = sum(whole <= _MOST_BLOCKS for whole in accumulate(listed))
    return Depths({index: blocks[index] for index in sorted(layout.indices - {"g", "u"})}, tuple(listed[:kept]))


def _places(key: str, names: _Names) -> Iterator[dict[str, int]]:
    """The indices in the names of this form, by letter."""
    if not indices(key):
        return
    first = {index: 1 if f"{{{index}+1}}" in key else 0 for index in indices(key)}
    for name in names.by_form.get(_form(_PLACE.sub("#", key)), ()):
        if match := _pattern(key).fullmatch(name):
            places = {index: int(place) - first[index] for index, place in match.groupdict().items()}
            if min(places.values()) >= 0:
                yield places


def _stacked(layout: Layout, prefix: str, index: str, specs: Mapping[str, Spec]) -> int:
    """How many blocks are stacked in one tensor; 0 if no tensor stacks them."""
    keys = (rule.key.replace("{p}", prefix) for rule in layout.rules if index in indices(rule.template) - indices(rule.key))
    return max((specs[key].shape[0] for key in keys if key in specs and specs[key].shape), default=0)


@lru_cache(4096)
def _pattern(key: str) -> re.Pattern[str]:
    """A pattern for a key with any numbers for its indices, in a group for each."""
    parts, seen = re.split(f"({_PLACE.pattern})", key), set[str]()
    for place, part in enumerate(parts):
        if not place % 2:
            parts[place] = re.escape(part)
        else:
            parts[place] = f"(?P={part[1]})" if part[1] in seen else rf"(?P<{part[1]}>0|[1-9]\d{{0,5}})"
            seen.add(part[1])
    return re.compile("".join(parts))
