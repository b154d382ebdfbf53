"""What a layout is: a table of rules, each tying one tensor of that layout to the canonical tensors it holds.

Canonical is the finest grain in torch orientation: q, k and v apart, matrices `(out, in)`. Axis
names mean the same in every table, so that sizes can be unified across tensors:

    d width   e attention width (heads x head width, equal to d)   h heads   k head width   m mlp
    n tokens (positions, the class token among them)   y x patch sides   rgb channels   classes
    f width, g attention width, o mlp of a decoder   c classes of a decoder   s tensors stacked by one rule
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor of a layout.

    `key` is the layout's name for it: `{p}` stands for the prefix, `{i}` for the block of the encoder,
    `{j}` for the block of the decoder. `holds` names the canonical tensors in it, stacked on axis `s`
    where there are several. `axes` is an einops pattern from this layout to canonical; read right to
    left it is the inverse. One side alone means that both sides are the same.
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
        """The axes of the canonical tensor, with `s` in front where the rule holds several."""
        return self.axes.split(" -> ")[-1]

    def at(self, **indices: str | int) -> "Rule":
        """The rule with its placeholders filled in."""

        def fill(template: str) -> str:
            for name, value in indices.items():
                template = template.replace(f"{{{name}}}", str(value))
            return template

        return Rule(fill(self.key), tuple(map(fill, self.holds)), self.axes)


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

    `required` sections must be there. `prefixes` are those that `{p}` may stand for in a file; the
    first is written, or `decoder_prefix` where a decoder comes along. `excludes` names sections that
    cannot stand beside another here. `eps` is what the layer norms of its backbone have.
    """

    name: str
    title: str
    sections: Mapping[str, tuple[Rule, ...]]
    required: frozenset[str] = frozenset({"stem", "encoder"})
    prefixes: tuple[str, ...] = ("",)
    decoder_prefix: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    eps: float = 1e-6

    def expand(self, prefix: str, depths: Mapping[str, int], sections: Collection[str]) -> dict[str, Rule]:
        """The rules of these sections written out for these depths, by key."""
        rules = {}
        for name in self.sections:
            if name not in sections:
                continue
            for rule in self.sections[name]:
                for filled in written_out(rule, prefix, depths):
                    rules[filled.key] = filled
        return rules


def written_out(rule: Rule, prefix: str, depths: Mapping[str, int]) -> list[Rule]:
    """One rule for each block that it is about; the rule itself where it is about none."""
    for index in ("i", "j"):
        if f"{{{index}}}" in rule.key:
            return [rule.at(p=prefix, **{index: block}) for block in range(depths.get(index, 0))]
    return [rule.at(p=prefix)]
