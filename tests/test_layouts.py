"""Every table says of itself what a table must be; a new one is tested by being there."""

import numpy as np
import pytest
from einops import rearrange

from segzoo.geometry import groups
from segzoo.layouts import LAYOUTS

ROWS = [(layout.name, rule) for layout in LAYOUTS.values() for rules in layout.sections.values() for rule in rules]
DEPTHS = {"i": 2, "j": 2}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_canonical_name_is_held_exactly_once(name):
    layout = LAYOUTS[name]
    rules = layout.expand(layout.prefixes[0], DEPTHS, layout.sections)
    held = [canonical for rule in rules.values() for canonical in rule.holds]
    assert len(held) == len(set(held))
    assert len(rules) == sum(len(layout.expand("", DEPTHS, (section,))) for section in layout.sections)


@pytest.mark.parametrize("name", LAYOUTS)
def test_sections_hold_the_same_canonical_names_in_every_layout(name):
    layout = LAYOUTS[name]
    for section, rules in layout.sections.items():
        for other in LAYOUTS.values():
            if section in other.sections:
                mine, theirs = ({held for rule in table for held in rule.holds} for table in (rules, other.sections[section]))
                assert mine == theirs, f"{section} of {name} and {other.name}"


@pytest.mark.parametrize(("name", "rule"), ROWS, ids=[f"{name}:{rule.key}" for name, rule in ROWS])
def test_a_pattern_reads_both_ways(name, rule):
    axes = sorted({axis for group in groups(rule.native) for axis in group} - {"1"})
    sizes = {axis: size for axis, size in zip(axes, (2, 3, 5, 7), strict=False)} | ({"s": len(rule.holds)} if "s" in axes else {})
    shape = [int(np.prod([sizes.get(axis, 1) for axis in group])) for group in groups(rule.native)]
    array = np.arange(np.prod(shape)).reshape(shape)
    there = rearrange(array, f"{rule.native} -> {rule.canonical}", **sizes)
    assert np.array_equal(rearrange(there, f"{rule.canonical} -> {rule.native}", **sizes), array)
    assert ("s" in axes) == (len(rule.holds) > 1)
    assert len({index in rule.key for index in ("{i}", "{j}")} - {False}) <= 1
    assert all(("{i}" in held) == ("{i}" in rule.key) for held in rule.holds)
