"""What a layout is: a table of rules, each tying one tensor of that layout to the canonical tensors it holds.

Canonical is the finest grain in torch orientation: q, k and v apart, the positions of the class token
and of the grid apart, matrices `(out, in)`. Axis names mean the same in every table, so that sizes can
be unified across tensors:

    d width   e attention width (heads x head width, equal to d)   h heads   k head width   m mlp
    n positions of the grid   y x patch sides   chan channels into the patch embedding   classes
    f width, g attention width, o mlp of a decoder   c classes of a decoder   s tensors stacked by one rule

Beside einops patterns there are two primitives, each its own inverse read backwards. `s` is an axis on
which the tensors that a rule holds are stacked; `1+n` one on which they are joined, sizes in that order.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Depths:
    """How often what repeats is there: blocks of the encoder, of the decoder, units of each residual stage."""

    encoder: int = 0
    decoder: int = 0
    units: tuple[int, ...] = ()

    def places(self, template: str) -> list[dict[str, int]]:
        """The values that the placeholders of a template take: one empty dict where it has none."""
        if "{i}" in template:
            return [{"i": block} for block in range(self.encoder)]
        if "{j}" in template:
            return [{"j": block} for block in range(self.decoder)]
        if "{u" in template:
            return [{"g": stage, "u": unit} for stage, units in enumerate(self.units) for unit in range(units)]
        if "{g" in template:
            return [{"g": stage} for stage in range(len(self.units))]
        return [{}]


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor of a layout.

    `key` is the layout's name for it: `{p}` stands for the prefix, `{i}` for the block of the encoder, `{j}`
    for that of the decoder, `{g}` and `{u}` for stage and unit of a residual network; `{g+1}` counts from one.
    `holds` names the canonical tensors in it; one with an index that the key lacks stands for all of them.
    `axes` is an einops pattern from this layout to canonical; read right to left it is the inverse. One side
    alone means that both sides are the same.
    """

    key: str
    holds: tuple[str, ...]
    axes: str

    @property
    def native(self) -> str:
        """The axes of the tensor as this layout stores it."""
        return self.axes.split(" -> ")[0]

    @property
    def canonical(self) -> str:
        """The axes of the canonical tensor, with `s` in front where the rule stacks several."""
        return self.axes.split(" -> ")[-1]

    def at(self, prefix: str, places: Mapping[str, int]) -> "Rule":
        """The rule with its placeholders filled in."""

        def fill(template: str) -> str:
            for index, place in places.items():
                template = template.replace(f"{{{index}}}", str(place)).replace(f"{{{index}+1}}", str(place + 1))
            return template

        return Rule(fill(self.key.replace("{p}", prefix)), tuple(map(fill, self.holds)), fill(self.axes))

    def written_out(self, prefix: str, depths: Depths) -> Iterator["Rule"]:
        """One rule for each place that it is about."""
        for places in depths.places(self.key):
            rule = self.at(prefix, places)
            if any("{" in held for held in rule.holds):
                rule = replace(rule, holds=tuple(rule.at("", place).holds[0] for place in depths.places(rule.holds[0])))
            yield rule


def axes_of(pattern: str) -> set[str]:
    """The names of the axes in one side of a pattern, or in both."""
    return set(re.findall(r"[a-z]\w*", pattern))


def affine(key: str, holds: str, axes: str, bias: str = "d", names: str = ".weight .bias") -> tuple[Rule, Rule]:
    """The two rules of a layer that has a weight and a bias; `names` is what the layout calls them."""
    weight_name, bias_name = names.split()
    return (
        Rule(key + weight_name, (f"{holds}.weight",), axes),
        Rule(key + bias_name, (f"{holds}.bias",), bias),
    )


@dataclass(frozen=True)
class Layout:
    """A table: sections of rules. A section is wholly there or wholly absent in a file.

    `prefixes` are those that `{p}` may stand for in a file; the first is written, or `decoder_prefix` where
    a decoder comes along. `spellings` are other names for the same in files of this layout: read, never
    written. `excludes` names sections that do not stand on another here, and cannot be beside it in a file
    that means it so. `beside` says which other names a prefix brings along: no part of the model. `eps` is what the layer norms
    of its backbone have. `suffix` is that of the files this layout usually comes in.
    """

    name: str
    title: str
    sections: Mapping[str, tuple[Rule, ...]] = field(repr=False)
    suffix: str = ".pth"
    prefixes: tuple[str, ...] = ("",)
    decoder_prefix: str | None = None
    spellings: tuple["Layout", ...] = field(default=(), repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    eps: float = 1e-6

    def expand(self, prefix: str, depths: Depths, sections: Collection[str]) -> dict[str, Rule]:
        """The rules of these sections written out for these depths, by key."""
        chosen = (rule for name, rules in self.sections.items() if name in sections for rule in rules)
        return {rule.key: rule for template in chosen for rule in template.written_out(prefix, depths)}

    def spelt(self, *swaps: tuple[str, str]) -> "Layout":
        """The same table with these parts of its keys replaced."""

        def swapped(rule: Rule) -> Rule:
            key = rule.key
            for old, new in swaps:
                key = key.replace(old, new)
            return replace(rule, key=key)

        return replace(self, sections={name: tuple(map(swapped, rules)) for name, rules in self.sections.items()})

    def under(self, outer: str) -> "Layout":
        """The same table with all its names under one more prefix."""
        sections = {name: tuple(replace(rule, key=outer + rule.key) for rule in rules) for name, rules in self.sections.items()}
        beside = {prefix: tuple(outer + name for name in names) for prefix, names in self.beside.items()}
        return replace(self, sections=sections, beside=beside)
