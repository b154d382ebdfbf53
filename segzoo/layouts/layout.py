"""What a layout is: the names of one library for one family of backbones, as a table of rules in sections."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from segzoo.layouts.family import Family
from segzoo.layouts.rule import Buffer, Depths, Rule, fill, indices, placeholders


@dataclass(frozen=True, slots=True)
class Beside:
    """Tensors that are no part of the model, such as an auxiliary head. They are dropped, and the report gives the reason.

    A name that begins with one of `starts`, or ends with one of `ends`, is beside the model. If `prefix` is given, that holds only for files
    under this prefix.
    """

    starts: tuple[str, ...]
    section: str
    reason: str
    prefix: str | None = None
    ends: tuple[str, ...] = ()


AUXILIARY = Beside(("auxiliary_head.",), "auxiliary head", "used in training only", prefix="backbone.")
"""What MMSegmentation trains beside a model's own head."""


Extent = tuple[str, str, str | int]
"""Axes of a tensor, the placeholders in its key, and how many tensors it stacks; the name of one of them where an index counts them."""


@cache  # heads are in the tables of all families
def _extent(rule: Rule) -> Extent:
    counted = indices(rule.holds[0]) - indices(rule.key)
    return rule.native, "".join(sorted(placeholders(rule.key))), rule.holds[0] if counted else len(rule.holds)


@dataclass(frozen=True)
class Layout:
    """A table: sections of rules. A file has all of a section or nothing of it.

    `prefixes` are what `{p}` may stand for in a file. The first is written, or `decoder_prefix` if the file has a head.
    `heads` is the library whose names for heads it uses (a key of `Head.rules`); None if it holds no heads.
    `spellings` are tables with other names for the same tensors: read, never written.
    `reasons` maps sections that it has no place for to why, for the report.
    `unlike` maps sections for which it has another network in place to how the two differ. A file goes there only without such a section.
    `excludes` maps a section to another that it does not take its input from in this layout, though it does in other layouts (hf's
    classifier does not stand on its pooler). Going from one kind of layout to the other would change the model, so `conversion.fit`
    leaves one of the two out.
    `optional` names sections that its files may lack. They are written only if the source has them.
    `unless` maps a section that its files have to another section: files with that one lack it, and the absence is neutral.
    `needs` names sections that all its files have: a model without them is refused.
    `beside` and `buffers` are tensors that a file may have although they are no weights of the model.
    `eps` is what the layer norms of its backbone have by default.
    `suffix` is the usual one of its files.
    `remark` is what the library wants of whoever gives it a backbone, for people.
    `explicit`: it is read only where the caller names it, since another family's files have the same names.
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
    unlike: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    unless: Mapping[str, str] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    beside: tuple[Beside, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    eps: float = 1e-6
    explicit: bool = False
    remark: str = ""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all sections."""
        return tuple(rule for rules in self.sections.values() for rule in rules)

    @property
    def indices(self) -> set[str]:
        """The letters of all placeholders in its rules."""
        return {letter for rule in self.rules for letter in indices(rule.template)}

    @cached_property
    def extents(self) -> Mapping[str, Mapping[Extent, int]]:
        """How many rules of each extent there are in each section."""
        return {name: Counter(map(_extent, rules)) for name, rules in self.sections.items()}

    def expand(self, prefix: str, depths: Depths, sections: Collection[str]) -> dict[str, Rule]:
        """The rules of these sections, written out for these depths, by key."""
        chosen = (rule for name, rules in self.sections.items() if name in sections for rule in rules)
        return {rule.key: rule for template in chosen for rule in template.written_out(prefix, depths)}

    def buffers_at(self, prefix: str, depths: Depths) -> dict[str, tuple[Buffer, Mapping[str, int]]]:
        """The buffers written out for these depths, by key. With each come the indices that it was written out for."""
        return {fill(buffer.key.replace("{p}", prefix), places): (buffer, places) for buffer in self.buffers for places in depths.places(buffer.key)}

    def spelt(self, *swaps: tuple[str, str]) -> "Layout":
        """The same table under another spelling: in every key, the first of each pair is replaced by the second."""

        def swapped(rule: Rule) -> Rule:
            key = rule.key
            for old, new in swaps:
                key = key.replace(old, new)
            return replace(rule, key=key)

        return replace(self, sections={name: tuple(map(swapped, rules)) for name, rules in self.sections.items()})

    def under(self, outer: str) -> "Layout":
        """The same table with one more prefix before all its names."""
        sections = {name: tuple(replace(rule, key=outer + rule.key) for rule in rules) for name, rules in self.sections.items()}
        beside = tuple(replace(one, starts=tuple(outer + name for name in one.starts)) for one in self.beside)
        return replace(self, sections=sections, beside=beside, buffers=tuple(replace(one, key=outer + one.key) for one in self.buffers))
