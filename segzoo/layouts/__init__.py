"""Which families, necks, heads and layouts there are: the tables, by family and name.

A new family is one folder and one line here. A new neck or head is one file in `necks` or `heads` and one line here.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from segzoo.layouts import beit, convnext, mit, resnet, swin, twins, vit
from segzoo.layouts.family import Alternatives, Family, Head
from segzoo.layouts.heads.dpt import DPT
from segzoo.layouts.heads.fpn import FPN_HEAD
from segzoo.layouts.heads.linear import LINEAR
from segzoo.layouts.heads.mask import MASK
from segzoo.layouts.heads.mask2former import MASK2FORMER
from segzoo.layouts.heads.nvlabs import NVLABS
from segzoo.layouts.heads.segformer import SEGFORMER
from segzoo.layouts.heads.setr import SETR
from segzoo.layouts.heads.setr_mla import SETR_MLA
from segzoo.layouts.heads.uper import UPER
from segzoo.layouts.layout import Layout
from segzoo.layouts.necks.fpn import FPN
from segzoo.layouts.necks.mla import MLA
from segzoo.layouts.necks.multilevel import MULTILEVEL
from segzoo.layouts.necks.pyramid import PYRAMID

FAMILIES: dict[str, Family] = {}
NECKS: dict[str, Head] = {}
HEADS: dict[str, Head] = {}
LAYOUTS: dict[str, dict[str, Layout]] = {}
OWN: dict[str, Layout] = {}
"""By family: the layout whose names segzoo's own torch network has."""


def register_head(head: Head) -> None:
    """Add a kind of head. Register heads before families: `register` gives each layout its heads."""
    HEADS[head.name] = head


def register_neck(neck: Head) -> None:
    """Add a kind of neck. Register necks before families, as heads."""
    NECKS[neck.name] = neck


def register(family: Family, tables: Iterable[Layout], own: Layout) -> None:
    """Add a family with its layouts. `own` has the names of its torch network. Each layout gets the necks and heads that it can hold."""
    FAMILIES[family.name] = family
    LAYOUTS[family.name] = {layout.name: _with_parts(layout) for layout in tables}
    OWN[family.name] = _with_parts(own, "own")


def _with_parts(layout: Layout, *more: str) -> Layout:
    """The layout with one more section for each neck and head that its library, or one of `more`, names."""
    parts, libraries = (*NECKS.values(), *HEADS.values()), (layout.heads, *more)
    held = {part.section: part.rules[library] for part in parts for library in libraries if library and library in part.rules}
    return replace(layout, sections={**layout.sections, **held}, spellings=tuple(map(_with_parts, layout.spellings)))


class _Names(Collection[str]):
    """The names of all layouts, each once. Two families may each have a layout of the same name.

    It looks at `LAYOUTS` when it is asked, so that families registered later are in it.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for layouts in LAYOUTS.values() for name in layouts))

    def __contains__(self, name: object) -> bool:
        return any(name in layouts for layouts in LAYOUTS.values())

    def __len__(self) -> int:
        return len(list(iter(self)))


NAMES: Collection[str] = _Names()


def all_layouts() -> list[Layout]:
    """Every layout of every family."""
    return [layout for layouts in LAYOUTS.values() for layout in layouts.values()]


def explicit(name: str | None) -> str | None:
    """This name of a layout, if the layout is read only where it is named; None for all others, which are detected."""
    return name if any(layout.name == name and layout.explicit for layout in all_layouts()) else None


def choices_of(family: Family) -> tuple[Alternatives, ...]:
    """The alternatives of a family's files: its own, and at most one neck and one head."""
    return (*family.choices, *(((), *((part.section,) for part in parts.values())) for parts in (NECKS, HEADS)))


def neck_of(sections: Collection[str]) -> Head | None:
    """The neck that a file with these sections has; None without one."""
    return next((neck for neck in NECKS.values() if neck.section in sections), None)


def head_of(sections: Collection[str]) -> Head | None:
    """The head that a file with these sections has; None without one."""
    return next((head for head in HEADS.values() if head.section in sections), None)


register_neck(MULTILEVEL)
register_neck(MLA)
register_neck(FPN)
register_neck(PYRAMID)
register_head(MASK)
register_head(LINEAR)
register_head(UPER)
register_head(FPN_HEAD)
register_head(SETR)
register_head(SETR_MLA)
register_head(DPT)
register_head(SEGFORMER)
register_head(NVLABS)
register_head(MASK2FORMER)
register(vit.VIT, vit.TABLES, vit.OWN)
register(swin.SWIN, swin.TABLES, swin.OWN)
register(convnext.CONVNEXT, convnext.TABLES, convnext.OWN)
register(twins.TWINS, twins.TABLES, twins.OWN)
register(beit.BEIT, beit.TABLES, beit.OWN)
register(mit.MIT, mit.TABLES, mit.OWN)
register(resnet.RESNET, resnet.TABLES, resnet.OWN)

__all__ = [
    "FAMILIES",
    "HEADS",
    "LAYOUTS",
    "NAMES",
    "NECKS",
    "OWN",
    "all_layouts",
    "choices_of",
    "explicit",
    "head_of",
    "neck_of",
    "register",
    "register_head",
    "register_neck",
]
