"""The tables, by name. A new layout is one file beside these and one line here."""

from segzoo.layouts.augreg import AUGREG
from segzoo.layouts.mmseg import MMSEG
from segzoo.layouts.rule import Layout, Rule
from segzoo.layouts.timm import TIMM

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (AUGREG, TIMM, MMSEG)}

__all__ = ["LAYOUTS", "Layout", "Rule"]
