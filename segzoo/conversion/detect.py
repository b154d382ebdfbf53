"""Which layout a file is in: that whose table, written out for the depth found in the names, has just these names.

Names and shapes only; what they leave open is said.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS, Depths, Layout, Rule
from segzoo.layouts.vit.family import ROOTS, STEMS
from segzoo.spec import Spec

_MOST_BLOCKS = 4096
_MOST_PREFIXES = 4


@dataclass(frozen=True)
class Found:
    """A layout recognised in a file. `rules` says for each name what it holds.

    `beside` are names that are no part of the model, `outer` is what all names stand under that is no part of the
    layout. `unsure` says what names and shapes left open, and how it was read.
    """

    layout: Layout
    prefix: str
    depths: Depths
    sections: tuple[str, ...]
    rules: dict[str, Rule]
    beside: tuple[str, ...] = ()
    unsure: str | None = None
    outer: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how the file was read."""
        outer = f"all names are those of {self.layout.name} after '{self.outer}'" if self.outer else None
        return tuple(filter(None, (outer, self.unsure)))

    def keys(self, section: str) -> tuple[str, ...]:
        """The names of the tensors in a section."""
        return tuple(self.layout.expand(self.prefix, self.depths, (section,)))


def detect(specs: Mapping[str, Spec], only: str | None = None, positions: int | None = None) -> Found:
    """The layout whose expansion equals these names as a set; shapes decide only where names leave it open.

    Where it is none, what all names begin with, up to a dot, is taken for a prefix that a training program put there.
    `only` is the one layout to read it as; `positions` how many the grid has, where the caller knows.
    Raises ConversionError with the nearest layout's missing and unexpected names, sorted.
    """
    names = frozenset(specs)
    spellings = [spelling for name in ([only] if only else LAYOUTS) for spelling in (LAYOUTS[name], *LAYOUTS[name].spellings)]
    readings = []
    for outer in ("", *_outer(names)):
        tables = [layout.under(outer) if outer else layout for layout in spellings]
        may = [(_shared(layout, prefix, names), layout, prefix) for layout in tables for prefix in layout.prefixes]
        for shared, layout, prefix in sorted(may, key=lambda one: -one[0]):
            if outer and not shared:
                break
            found = replace(_read_as(layout, prefix, specs, positions), outer=outer)
            if found.rules.keys() == names - set(found.beside):
                return found
            readings.append(found)
    nearest = max(readings, key=lambda found: len(found.rules.keys() & names) / len(found.rules.keys() | names))
    missing, unexpected = sorted(nearest.rules.keys() - names), sorted(names - nearest.rules.keys())
    if not names:
        raise ConversionError("no tensors in it")
    if only and names.isdisjoint(nearest.rules):
        raise ConversionError(f"no tensor is named as in layout '{only}'", hint="leave --from out: the layout is detected")
    if names.isdisjoint(nearest.rules):
        known, number = ", ".join(LAYOUTS), "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
        raise ConversionError(
            f"{number} in no layout that segzoo knows ({known}); such as {', '.join(sorted(names)[:3])}",
            hint="segzoo converts ViT weights; is this a checkpoint of another architecture?",
        )
    differences = [f"missing {_some(missing)}"] if missing else []
    differences += [f"unexpected {_some(unexpected)}"] if unexpected else []
    cause = "the file is cut short, edited, or of a variant that segzoo does not know"
    if not missing:
        pattern = nearest.outer + unexpected[0].removeprefix(nearest.outer).split(".")[0]
        cause = f"convert --drop NAME leaves a tensor out, by name or pattern ('{pattern}.*')"
    raise ConversionError(f"nearest to layout '{nearest.layout.name}', but {'; '.join(differences)}", hint=f"{cause}; nothing was written")


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
    return sum(rule.key.replace("{p}", prefix) in names for rules in layout.sections.values() for rule in rules)


def _read_as(layout: Layout, prefix: str, specs: Mapping[str, Spec], positions: int | None) -> Found:
    """The names read as this layout, whether or not they fit."""
    beside = tuple(name for name in specs if name.startswith(layout.beside.get(prefix, ()))) if prefix in layout.beside else ()
    specs = {name: spec for name, spec in specs.items() if name not in beside} if beside else specs
    units: list[int] = []
    while len(units) < _MOST_BLOCKS and (found := _count(layout, prefix, "u", specs, {"g": len(units)})):
        units.append(found)
    depths = Depths(_count(layout, prefix, "i", specs), _count(layout, prefix, "j", specs), tuple(units))
    once = Depths(max(depths.encoder, 1), max(depths.decoder, 1), depths.units or (1,))
    there = {name for name in layout.sections if name == "encoder" or not specs.keys().isdisjoint(layout.expand(prefix, once, (name,)))}
    for alternatives in (STEMS, ROOTS):
        may = [one for one in alternatives if layout.sections.keys() >= set(one)]
        best = max(may, key=lambda one: _fit(layout.expand(prefix, depths, one), specs, positions), default=())
        there = there - {name for one in alternatives for name in one} | set(best)
    sections = tuple(name for name in layout.sections if name in there)
    rules = layout.expand(prefix, depths, sections)
    unsure = _unsure(rules, specs) if positions is None and layout.sections.keys() >= {"stem", "stem without class position"} else None
    return Found(layout, prefix, depths, sections, rules, beside, unsure)


def _fit(rules: Mapping[str, Rule], specs: Mapping[str, Spec], positions: int | None) -> tuple[int, bool]:
    """How well one of several alternatives fits: by names, then by the number of positions, known or square."""
    fit = len(rules.keys() & specs.keys()) - len(rules.keys() - specs.keys())
    grids = [_grid(rule, specs[key]) for key, rule in rules.items() if "pos.grid" in rule.holds and key in specs]
    return fit, all(grid == positions if positions is not None else _square(grid) for grid in grids)


def _grid(rule: Rule, spec: Spec) -> int:
    """How many positions of the grid a table has, where the rule is right about what else it holds."""
    return spec.shape[1] - len(rule.holds) + 1 if len(spec.shape) == 3 else 0


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _unsure(rules: Mapping[str, Rule], specs: Mapping[str, Spec]) -> str | None:
    """What is left open of a file with a class token whose table may or may not have a position for it."""
    held = {name for rule in rules.values() for name in rule.holds}
    key, rule = next(((key, rule) for key, rule in rules.items() if "pos.grid" in rule.holds), ("", None))
    if rule is None or key not in specs or "cls" not in held or "dist" in held:
        return None
    entries = specs[key].shape[1] if len(specs[key].shape) == 3 else 0
    if _square(entries - 1):
        return None
    with_class = f"{entries - 1} positions and one for the class token"
    read, other = (with_class, entries) if "pos.cls" in held else (f"{entries} positions and none for the class token", entries - 1)
    return f"{key} has {entries} entries: read as {read}; if that is wrong, say --positions {other}"


def _count(layout: Layout, prefix: str, index: str, specs: Mapping[str, Spec], places: Mapping[str, int] | None = None) -> int:
    """How many blocks the names speak of: the highest index and one, so that a gap shows as missing names.

    Where a name stands for all blocks, its shape says how many.
    """
    found = [0]
    for rule in {rule for rules in layout.sections.values() for rule in rules if f"{{{index}" in "".join((rule.key, *rule.holds))}:
        key = rule.at(prefix, places or {}).key
        head, placeholder, tail = key.partition(f"{{{index}")
        if not placeholder:
            found += [min(spec.shape[0], _MOST_BLOCKS) for spec in [specs.get(key)] if spec and spec.shape]
            continue
        first = 1 if tail.startswith("+1") else 0
        pattern = re.compile(re.escape(head) + r"(0|[1-9]\d{0,5})" + re.escape(tail.partition("}")[2]))
        found += [min(int(match[1]) + 1 - first, len(specs)) for match in map(pattern.fullmatch, specs) if match]
    return max(found)  # no more blocks than names, whatever an index claims
