"""Twins, PCPVT and SVT: their sizes, and their names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.twins.family import TWINS
from segzoo.layouts.twins.mmseg import MMSEG, OWN
from segzoo.layouts.twins.official import OFFICIAL
from segzoo.layouts.twins.timm import TIMM

TABLES = (OFFICIAL, TIMM, MMSEG)

__all__ = ["OWN", "TABLES", "TWINS"]
