"""What a rule is: it ties one tensor of a layout to the canonical tensors that it holds.

Canonical tensors are the finest grain, in torch orientation: q, k and v apart, the positions of the class
token and of the grid apart, matrices `(out, in)`. An axis letter means the same in every table of a family, so
that sizes can be compared across tensors. The letters of the plain ViT:

    d width   e attention width (heads x head width, equal to d)   h heads   k head width   m mlp
    n positions of the grid   y x patch sides   chan channels into the patch embedding   classes
    f width, g attention width, o mlp of a decoder   c classes of a decoder   s tensors stacked by one rule

A pattern can also hold several canonical tensors, in one of two ways. On the axis `s` they are stacked: it is as
long as there are tensors. On an axis such as `1+n` they are joined: one tensor of length 1, then one of length n.
Both read backwards too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

_INDEX = re.compile(r"\{([a-oq-z])(?:\+1|:even|:odd)?\}")  # {p} stands for the prefix
_EVERY_SECOND = re.compile(r"\{([a-oq-z]):(even|odd)\}")


def placeholders(template: str) -> set[str]:
    """The placeholders in a template, without the `{p}` of the prefix."""
    return {found[0] for found in _INDEX.finditer(template)}


def indices(template: str) -> set[str]:
    """The letters of the placeholders in a template, without the `p` of the prefix."""
    return set(_INDEX.findall(template))


@dataclass(frozen=True, slots=True)
class Depths:
    """How many blocks, stages and units a file has.

    `blocks` counts blocks by index: `i` for the encoder, `j` for the decoder, or another letter of a table. `c` counts the chunks that the
    encoder's blocks come in; all are of one size but for the last, which may be smaller.
    `units` has one number for each stage `g`: how many units `u` are in it.
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    units: tuple[int, ...] = ()

    def __getitem__(self, index: str) -> int:
        """How many blocks an index counts. `g` counts the stages, `u` the units of all stages together."""
        return {"g": len(self.units), "u": sum(self.units)}.get(index, self.blocks.get(index, 0))

    def places(self, template: str) -> list[dict[str, int]]:
        """Every combination of indices that fills the template's placeholders; one empty dict if it has none. `{w:odd}` takes odd indices only."""
        letters = indices(template)
        places: list[dict[str, int]] = [{}]
        if "u" in letters:
            places = [{"g": stage, "u": unit} for stage, units in enumerate(self.units) for unit in range(units)]
        elif "g" in letters:
            places = [{"g": stage} for stage in range(len(self.units))]
        for letter in sorted(letters - {"c", "g", "u"}):
            places = [{**place, letter: block} for place in places for block in range(self.blocks.get(letter, 0))]
        if "c" in letters:
            size = self._in_a_chunk
            places = [{**place, "c": place["i"] // size} for place in places]
        second = {letter: int(which == "odd") for letter, which in _EVERY_SECOND.findall(template)}
        return [place for place in places if all(place[letter] % 2 == first for letter, first in second.items())]

    @property
    def _in_a_chunk(self) -> int:
        """How many blocks are in a chunk. Whoever asks for k chunks of n blocks gets chunks of n // k, and perhaps one chunk more."""
        blocks, chunks = self["i"], max(self["c"], 1)
        sizes = (blocks // asked for asked in range(1, blocks + 1))
        return next((size for size in sizes if -(-blocks // size) == chunks), max(blocks, 1))


def fill(template: str, places: Mapping[str, int]) -> str:
    """A template with its placeholders filled in. `{g+1}` stands for `g` counted from one."""
    for index, place in places.items():
        for placeholder, number in ((index, place), (f"{index}+1", place + 1), (f"{index}:even", place), (f"{index}:odd", place)):
            template = template.replace(f"{{{placeholder}}}", str(number))
    return template


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor of a layout.

    `key` is the layout's name for it. `{p}` in it stands for the prefix, any other letter in braces for an index: `{i}` for a block
    of the encoder, `{j}` for a block of the decoder, `{g}` and `{u}` for stage and unit, `{c}` for the chunk that block `{i}` is in. `{g+1}` is
    `g` counted from one. `{i:even}` and `{i:odd}` are the blocks of even and odd index only, where blocks of two kinds take turns.
    `holds` names the canonical tensors in it. A name with an index that the key lacks stands for one tensor per block, all stacked in this one.
    `axes` is an einops pattern from this layout to canonical. Read right to left, it is the inverse. A pattern with one side
    means that both sides are the same.
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
        """The axes of the canonical tensor, with `s` in front if the rule stacks several."""
        return self.axes.split(" -> ")[-1]

    @property
    def rank(self) -> int:
        """How many dimensions the tensor has as this layout stores it."""
        return len(re.findall(r"\([^)]*\)|\S+", self.native))

    @property
    def template(self) -> str:
        """The key and the names it holds, as one text: every placeholder of the rule is in it."""
        return " ".join((self.key, *self.holds))

    def at(self, prefix: str, places: Mapping[str, int]) -> "Rule":
        """The rule with its placeholders filled in."""
        return Rule(fill(self.key.replace("{p}", prefix), places), tuple(fill(name, places) for name in self.holds), fill(self.axes, places))

    def written_out(self, prefix: str, depths: Depths) -> Iterator["Rule"]:
        """One rule for each combination of indices in the key. Names that still have an index are written out within the rule."""
        for places in depths.places(self.key):
            rule = self.at(prefix, places)
            if any("{" in held for held in rule.holds):  # all blocks in one tensor, as training with flax's scan writes them
                rule = replace(rule, holds=tuple(rule.at("", place).holds[0] for place in depths.places(rule.holds[0])))
            yield rule


def axes_of(pattern: str) -> set[str]:
    """The names of the axes in a pattern, or in one side of it, without the numbers."""
    return set(re.findall(r"[a-z]\w*", pattern))


def affine(key: str, holds: str, axes: str, bias: str = "d", names: str = ".weight .bias") -> tuple[Rule, Rule]:
    """The two rules of a layer with a weight and a bias. `axes` is the pattern of the weight, `bias` of the bias, `names` their names."""
    weight_name, bias_name = names.split()
    return (
        Rule(key + weight_name, (f"{holds}.weight",), axes),
        Rule(key + bias_name, (f"{holds}.bias",), bias),
    )


def batch_norm(key: str, holds: str, width: str) -> tuple[Rule, ...]:
    """The five rules of a torch BatchNorm. The count of batches is a scalar int64, which inference does not use."""
    return (
        *affine(key, holds, width, width),
        Rule(f"{key}.running_mean", (f"{holds}.mean",), width),
        Rule(f"{key}.running_var", (f"{holds}.var",), width),
        Rule(f"{key}.num_batches_tracked", (f"{holds}.batches",), ""),
    )


def conv_module(key: str, holds: str, axes: str, width: str, norm: str = "bn") -> tuple[Rule, ...]:
    """The rules of mmcv's ConvModule with BatchNorm: a convolution without bias, and the norm, by its name."""
    return (Rule(f"{key}.conv.weight", (f"{holds}.conv.weight",), axes), *batch_norm(f"{key}.{norm}", f"{holds}.norm", width))


def output_norms(*keys: str) -> tuple[Rule, ...]:
    """The norms of the stages' outputs, by their names, of widths d0, d1 and so on."""
    return tuple(rule for stage, key in enumerate(keys) for rule in affine(key, f"norms.{stage}", f"d{stage}", f"d{stage}"))


Nested = int | list["Nested"] | memoryview


@dataclass(frozen=True, slots=True)
class Buffer:
    """An int64 tensor that follows from the sizes, such as an index into a table of relative positions.

    It is no weight and is never converted: a file's own is compared with `value`, and the target's is made by `value`.
    `value` takes the sizes of the axes and the indices of the block, and gives nested lists, or a view of int64. `length` is how many numbers
    these are. If `written`, files of the layout have it.
    """

    key: str
    value: Callable[[Mapping[str, int], Mapping[str, int]], Nested]
    length: Callable[[Mapping[str, int]], int]
    written: bool = True
