"""Which sections of a file a layout can hold, and why it cannot hold the others."""

from collections.abc import Collection

from segzoo.conversion.detect import Found
from segzoo.errors import ConversionError
from segzoo.layouts import LAYOUTS
from segzoo.layouts.layout import Layout


def layout_of(found: Found, to: str | Layout) -> Layout:
    """The table of this name in the file's family: the layout's own; if that has no place for what the file has, the one of its spellings that
    leaves out least. Raises ConversionError if the family has no such layout.
    """
    if isinstance(to, Layout):
        return to
    family = found.layout.family
    if to not in LAYOUTS[family.name]:
        known = ", ".join(LAYOUTS[family.name])
        raise ConversionError(f"{found.layout.name} cannot become {to}: {family.title} has no layout '{to}', only {known}")
    layout = LAYOUTS[family.name][to]
    if not refusal(found, layout):
        return layout
    fitting = [table for table in layout.spellings if not refusal(found, table)]
    return min(fitting, key=lambda table: len(left_out(found, table)), default=layout)


def refusal(found: Found, target: Layout) -> str | None:
    """Why a file cannot go to a layout at all; None if it can."""
    essential = found.layout.family.essential
    lacking = [section for section in found.sections if section in essential and section not in target.sections]
    if needed := sorted(target.needs - set(found.sections)):
        return f"{found.layout.name} cannot become {target.name}: layout '{target.name}' holds only models with {essential[needed[0]]}"
    if not lacking:
        return None
    return f"{found.layout.name} cannot become {target.name}: this file has {essential[lacking[0]]}, for which layout '{target.name}' has no place"


def unlike(found: Found, target: Layout) -> dict[str, str]:
    """The sections of a file for which a layout has another network in place, each with how the two differ."""
    return {section: target.unlike[section] for section in found.sections if section in target.unlike}


def left_out(found: Found, target: Layout, drop: Collection[str] = ()) -> dict[str, str]:
    """The sections of a file that do not come along to a layout, each with the reason.

    A section whose absence is neutral comes along by its tensors: another section of the target may hold them.
    The order counts: a section that is left out can take with it those that stand on it.
    """
    family, source = found.layout.family, found.layout
    reasons = {
        section: target.reasons.get(section, f"layout '{target.name}' has no {section}")
        for section in found.sections
        if section not in target.sections and not family.says_nothing(source.sections[section])
    } | dict.fromkeys(drop, "as asked")
    for section, below in family.stands_on.items():  # what it stands on is left out
        gone = [one for one in below if one in reasons]
        if gone and section in found.sections and section not in source.excludes:
            reasons.setdefault(section, f"it stands on the {gone[0].replace('pre_logits', 'pre-logits layer')}, which is dropped")
    for section, other in target.excludes.items():  # here one stands on the other, there it would not: keep the other
        if {section, other} <= set(found.sections) and section not in source.excludes:
            reasons.setdefault(section, f"layout '{target.name}' has no {section} on top of {other}")
    for section, other in source.excludes.items():  # here one does not stand on the other, there it would: keep the one
        if {section, other} <= set(found.sections) - reasons.keys() and section not in target.excludes:
            reasons[other] = f"in layout '{source.name}' the {section} does not stand on it, in '{target.name}' it would"
    return reasons
