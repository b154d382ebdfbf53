"""Every table says of itself what a table must be; a new one is tested by being there."""

from itertools import product

import numpy as np
import pytest

from segzoo.conversion.run import pack, unpack
from segzoo.layouts import HEADS, LAYOUTS, NECKS, OWN, all_layouts, choices_of
from segzoo.layouts.dimensions import dimensions, shape_of
from segzoo.layouts.rule import Depths, axes_of

TABLES = [
    (f"{layout.family.name} {layout.name} {index}", table) for layout in all_layouts() for index, table in enumerate((layout, *layout.spellings))
]
ROWS = {rule: f"{name}:{rule.key}" for name, table in reversed(TABLES) for rules in table.sections.values() for rule in rules}
"""Each rule once, by the first table that has it: the tables of a library share those of its necks and heads."""
DEPTHS = Depths(dict.fromkeys("bijlmnwxyz", 2), (1, 2))
PRIMES = (2, 3, 5, 7, 11, 13)


def held(layout, section):
    return [name for rule in layout.expand("", DEPTHS, (section,)).values() for name in rule.holds]


@pytest.mark.parametrize(("name", "layout"), TABLES, ids=[name for name, _ in TABLES])
def test_each_canonical_name_is_held_exactly_once(name, layout):
    choices = choices_of(layout.family)
    always = [section for section in layout.sections if section not in {one for choice in choices for each in choice for one in each}]
    for chosen in (sections for sections in product(*choices) if layout.sections.keys() >= {one for each in sections for one in each}):
        once = [*always, *(section for each in chosen for section in each)]
        names = [name for section in once for name in held(layout, section)]
        assert len(names) == len(set(names))
        assert len(layout.expand("", DEPTHS, once)) == sum(len(layout.expand("", DEPTHS, (section,))) for section in once)


@pytest.mark.parametrize(("name", "layout"), TABLES, ids=[name for name, _ in TABLES])
def test_sections_hold_the_same_canonical_names_in_every_layout(name, layout):
    """But for tensors whose absence is neutral: one layout has them in a section of their own, the other beside the weights."""
    for section in layout.sections:
        for other in LAYOUTS[layout.family.name].values():
            if section in other.sections:
                differing = set(held(layout, section)) ^ set(held(other, section))
                assert [one for one in differing if layout.family.neutral_of(one) is None] == [], f"{section} of {name} and {other.name}"


@pytest.mark.parametrize(("name", "layout"), TABLES, ids=[name for name, _ in TABLES])
def test_what_may_be_absent_has_a_place_in_every_layout(name, layout):
    """So that it is never lost on the way: only a whole section that a layout does not have at all can be."""
    for section, rules in layout.sections.items():
        for other in LAYOUTS[layout.family.name].values():
            if layout.family.says_nothing(rules) and not other.needs:  # models that a layout with needs refuses bring nothing to it
                everywhere = {name for each in other.sections for name in held(other, each)}
                assert set(held(layout, section)) <= everywhere, f"{section} of {name} and {other.name}"


@pytest.mark.parametrize("rule", ROWS, ids=ROWS.values())
def test_a_rule_reads_both_ways(rule):
    rule = next(rule.written_out("", DEPTHS))
    sizes = dict(zip(sorted(axes_of(rule.native) - {"s"}), PRIMES, strict=False))
    shape = shape_of(rule.native, sizes, len(rule.holds))
    array = np.arange(np.prod(shape)).reshape(shape)
    parts = unpack(rule, array, sizes)
    assert len(parts) == len(rule.holds)
    assert np.array_equal(pack(rule, parts, sizes), array)
    assert sum(part.size for part in parts) == array.size
    joins = any(len(terms) > 1 for terms in dimensions(rule.native))
    assert ("s" in axes_of(rule.axes) or joins) == (len(rule.holds) > 1)


@pytest.mark.parametrize("layout", all_layouts(), ids=lambda layout: f"{layout.family.name} {layout.name}")
def test_every_section_is_known_to_another_layout(layout):
    others = {part.section for part in (*NECKS.values(), *HEADS.values())} | OWN[layout.family.name].sections.keys()  # one library alone may have it
    tables = (table for other in LAYOUTS[layout.family.name].values() if other is not layout for table in (other, *other.spellings))
    others |= {section for table in tables for section in table.sections} | {"projection"}  # to texts: of no use without them
    assert {section for section, rules in layout.sections.items() if not layout.family.says_nothing(rules)} <= others
