"""What a layout is: a table of rules in sections, of one family of backbones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from segzoo.layouts.family import Family
from segzoo.layouts.rule import Buffer, Depths, Rule, fill, indices


@dataclass(frozen=True, slots=True)
class Beside:
    """Tensors that are no part of the model, known by how their names begin, under one prefix of the layout or under any."""

    starts: tuple[str, ...]
    section: str
    reason: str
    prefix: str | None = None


@dataclass(frozen=True)
class Layout:
    """A table: sections of rules. A section is wholly there or wholly absent in a file.

    `prefixes` are those that `{p}` may stand for in a file; the first is written, or `decoder_prefix` where
    a head comes along. `heads` says by whose names it holds heads, None where it holds none. `spellings` are other names for the same in
    files of this layout: read, never written. `excludes` names sections that do not stand on another here, and cannot be beside it in a
    file that means it so. `optional` names sections that its files may lack: where their tensors are neutral, they are left out
    when written. `beside` and `buffers` are what a file may have that is no weight of the model. `eps` is what the layer norms of its
    backbone have. `suffix` is that of the files this layout usually comes in.
    """

    name: str
    title: str
    family: Family = field(repr=False)
    sections: Mapping[str, tuple[Rule, ...]] = field(repr=False)
    suffix: str = ".pth"
    prefixes: tuple[str, ...] = ("",)
    decoder_prefix: str | None = None
    heads: str | None = None
    spellings: tuple["Layout", ...] = field(default=(), repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    beside: tuple[Beside, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    eps: float = 1e-6

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all sections."""
        return tuple(rule for rules in self.sections.values() for rule in rules)

    @property
    def indices(self) -> set[str]:
        """The letters of the placeholders that its rules have."""
        return {letter for rule in self.rules for letter in indices(rule.template)}

    def expand(self, prefix: str, depths: Depths, sections: Collection[str]) -> dict[str, Rule]:
        """The rules of these sections written out for these depths, by key."""
        chosen = (rule for name, rules in self.sections.items() if name in sections for rule in rules)
        return {rule.key: rule for template in chosen for rule in template.written_out(prefix, depths)}

    def buffers_at(self, prefix: str, depths: Depths) -> dict[str, tuple[Buffer, Mapping[str, int]]]:
        """The buffers written out for these depths, by key, each with its place."""
        return {fill(buffer.key.replace("{p}", prefix), places): (buffer, places) for buffer in self.buffers for places in depths.places(buffer.key)}

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
        beside = tuple(replace(one, starts=tuple(outer + name for name in one.starts)) for one in self.beside)
        return replace(self, sections=sections, beside=beside, buffers=tuple(replace(one, key=outer + one.key) for one in self.buffers))
