"""The engine of the tables: what must be done to get another layout, and doing it.

`plan` looks at names and shapes only and refuses there; `run` yields one target tensor
at a time. Pure: arrays in, arrays out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from segzoo.conversion.axes import measure, shape_of
from segzoo.conversion.detect import Found, detect
from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS, Layout, Rule
from segzoo.layouts.rule import axes_of
from segzoo.layouts.vit.family import ESSENTIAL
from segzoo.layouts.vit.geometry import Geometry
from segzoo.spec import Spec

STANDS_ON = {"classifier": ("pre_logits", "pooling head")}
"""What a section is of no use without, where the file has it."""


@dataclass(frozen=True)
class Dropped:
    """A section that the target cannot hold, with the tensors in it."""

    section: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One tensor to be made: its rule, what it will be, and for each part the source rule and its place in it."""

    rule: Rule
    spec: Spec
    parts: tuple[tuple[Rule, int], ...]


@dataclass(frozen=True)
class Plan:
    source: Found
    target: Layout
    geometry: Geometry
    sizes: dict[str, int]
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]

    @property
    def specs(self) -> dict[str, Spec]:
        return {step.rule.key: step.spec for step in self.steps}


def plan(
    specs: Mapping[str, Spec],
    to: str | Layout,
    *,
    found: Found | None = None,
    heads: int | None = None,
    drop: Collection[str] = (),
    prefix: str | None = None,
) -> Plan:
    """What must be done to these tensors to have them in layout `to`, a name or a table.

    `found` is what they are, where the caller knows it already. `heads` is needed only where the target
    shows heads and the source does not. Sections named in `drop` are left out though the target could hold
    them; `prefix` replaces the target's own. Raises ConversionError when names or shapes do not fit, or the
    target has no place for what the source cannot do without.
    """
    found = found or detect(specs)
    geometry, sizes = measure(found.rules, specs, found.depths, heads)
    target = LAYOUTS[to] if isinstance(to, str) else to
    if why := refusal(found, target):
        raise ConversionError(why)
    optional = [section for section in found.sections if section not in ESSENTIAL]
    if wrong := [section for section in drop if section not in optional]:
        may = ", ".join(f"'{one}'" for one in optional) or "none"
        raise ConversionError(f"section '{wrong[0]}' cannot be dropped; of this file can be: {may}")
    reasons = left_out(found, target, drop)
    kept = [section for section in found.sections if section not in reasons]
    dropped = tuple(Dropped(section, reason, found.keys(section)) for section, reason in reasons.items())
    if found.beside:
        dropped += (Dropped("text model", "beside the image model, no part of it", found.beside),)
    if prefix is None:
        decoded = any("decoder" in section for section in kept)
        prefix = (target.decoder_prefix if decoded else None) or target.prefixes[0]
    elif prefix not in target.prefixes:
        known = ", ".join(f"'{one}'" for one in target.prefixes)
        raise ConversionError(f"layout '{target.name}' does not stand under the prefix '{prefix}', only under {known}")
    elif target.decoder_prefix and prefix != target.decoder_prefix and any("decoder" in section for section in kept):
        raise ConversionError(f"beside a decoder, layout '{target.name}' stands under the prefix '{target.decoder_prefix}' only")
    wanted = target.expand(prefix, found.depths, kept)
    if found.unsure and target.name != found.layout.name and geometry.grid is None:
        raise ConversionError(
            f"{found.unsure}, and if it is right, --positions {geometry.positions}",
            hint="names and shapes leave it open, and a guess would be silent",
        )
    if any(axis not in sizes for rule in wanted.values() for axis in axes_of(rule.axes) - {"s"}):
        raise ConversionError(
            f"layout '{target.name}' shows the attention heads, layout '{found.layout.name}' does not",
            hint="say how many with --heads N (width // 64 is right for Ti, S, B and L, and wrong for others)",
        )
    return Plan(found, target, geometry, sizes, fill(wanted, found, specs, sizes), dropped)


def fill(wanted: Mapping[str, Rule], found: Found, specs: Mapping[str, Spec], sizes: Mapping[str, int]) -> tuple[Step, ...]:
    """The steps that make those of the wanted tensors of which a file has all parts."""
    home = {name: (rule, place) for rule in found.rules.values() for place, name in enumerate(rule.holds)}
    return tuple(_step(rule, [home[name] for name in rule.holds], specs, sizes) for rule in wanted.values() if home.keys() >= set(rule.holds))


def refusal(found: Found, target: Layout) -> str | None:
    """Why a file cannot be brought to a layout at all; None where it can."""
    lacking = [section for section in found.sections if section in ESSENTIAL and section not in target.sections]
    if not lacking:
        return None
    return f"{found.layout.name} cannot become {target.name}: this file has {ESSENTIAL[lacking[0]]}, for which layout '{target.name}' has no place"


def left_out(found: Found, target: Layout, drop: Collection[str] = ()) -> dict[str, str]:
    """The sections of a file that do not come along to a layout, each with the reason."""
    reasons = {
        section: target.reasons.get(section, f"layout '{target.name}' has no {section}")
        for section in found.sections
        if section not in target.sections
    } | dict.fromkeys(drop, "as asked")
    for section, below in STANDS_ON.items():
        if section in found.sections and section not in found.layout.excludes and (gone := [one for one in below if one in reasons]):
            reasons.setdefault(section, f"it stands on the {gone[0].replace('pre_logits', 'pre-logits layer')}, which is dropped")
    for section, other in target.excludes.items():
        if {section, other} <= set(found.sections) and section not in found.layout.excludes:
            reasons.setdefault(section, f"layout '{target.name}' has no {section} on top of {other}")
    for section, other in found.layout.excludes.items():
        if {section, other} <= set(found.sections) - reasons.keys() and section not in target.excludes:
            reasons[other] = f"in layout '{found.layout.name}' the {section} does not stand on it, in '{target.name}' it would"
    return reasons


def _step(rule: Rule, parts: list[tuple[Rule, int]], specs: Mapping[str, Spec], sizes: Mapping[str, int]) -> Step:
    dtypes = {specs[home.key].dtype for home, _ in parts}
    if len(dtypes) > 1:
        keys = ", ".join(home.key for home, _ in parts)
        raise ConversionError(
            f"{rule.key} would join tensors of different dtypes, {', '.join(sorted(dtypes))}: {keys}", hint="--dtype gives all the same"
        )
    return Step(rule, Spec(shape_of(rule.native, sizes, len(rule.holds)), dtypes.pop()), tuple(parts))
