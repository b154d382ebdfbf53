"""What ties one tensor of a layout to the canonical tensors that it holds.

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

_INDEX = re.compile(r"\{([a-oq-z])(?:\+1)?\}")  # {p} stands for the prefix


def indices(template: str) -> set[str]:
    """The letters of the placeholders in a template, the prefix apart."""
    return set(_INDEX.findall(template))


@dataclass(frozen=True, slots=True)
class Depths:
    """How often what repeats is there.

    `blocks` counts the blocks of each index that stands alone: `i` of an encoder, `j` of a decoder, or another letter of a table.
    `units` counts the units `u` of each stage `g`.
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    units: tuple[int, ...] = ()

    def __getitem__(self, index: str) -> int:
        """How many blocks an index counts; of `g` the stages, of `u` the units of all stages."""
        return {"g": len(self.units), "u": sum(self.units)}.get(index, self.blocks.get(index, 0))

    def places(self, template: str) -> list[dict[str, int]]:
        """The values that the placeholders of a template take: one empty dict where it has none."""
        letters = indices(template)
        places: list[dict[str, int]] = [{}]
        if "u" in letters:
            places = [{"g": stage, "u": unit} for stage, units in enumerate(self.units) for unit in range(units)]
        elif "g" in letters:
            places = [{"g": stage} for stage in range(len(self.units))]
        for letter in sorted(letters - {"g", "u"}):
            places = [{**place, letter: block} for place in places for block in range(self.blocks.get(letter, 0))]
        return places


def fill(template: str, places: Mapping[str, int]) -> str:
    """A template with its placeholders filled in; `{g+1}` counts from one."""
    for index, place in places.items():
        template = template.replace(f"{{{index}}}", str(place)).replace(f"{{{index}+1}}", str(place + 1))
    return template


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor of a layout.

    `key` is the layout's name for it. In it `{p}` stands for the prefix, another letter in braces for an index: `{i}` for the block
    of the encoder, `{j}` for that of the decoder, `{g}` and `{u}` for stage and unit; `{g+1}` counts from one.
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

    @property
    def template(self) -> str:
        """All of it in which placeholders can be."""
        return " ".join((self.key, *self.holds))

    def at(self, prefix: str, places: Mapping[str, int]) -> "Rule":
        """The rule with its placeholders filled in."""
        return Rule(fill(self.key.replace("{p}", prefix), places), tuple(fill(name, places) for name in self.holds), fill(self.axes, places))

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


def batch_norm(key: str, holds: str, width: str) -> tuple[Rule, ...]:
    """The five tensors of a torch BatchNorm. The count of batches is a scalar int64 that inference does not use."""
    return (
        *affine(key, holds, width, width),
        Rule(f"{key}.running_mean", (f"{holds}.mean",), width),
        Rule(f"{key}.running_var", (f"{holds}.var",), width),
        Rule(f"{key}.num_batches_tracked", (f"{holds}.batches",), ""),
    )


Nested = int | list["Nested"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """An int64 tensor that follows from the sizes, such as an index into a table of relative positions.

    It is no weight: a file's own is checked to be what it must be and never converted. `value` gives it, as nested lists, for the sizes
    of the axes and the place; `written` says whether files of the layout have it.
    """

    key: str
    value: Callable[[Mapping[str, int], Mapping[str, int]], Nested]
    written: bool = True
