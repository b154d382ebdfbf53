"""MiT, the backbone of SegFormer: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.mit.family import MIT
from segzoo.layouts.mit.hf import HF
from segzoo.layouts.mit.mmseg import MMSEG, OWN
from segzoo.layouts.mit.official import OFFICIAL

TABLES = (OFFICIAL, MMSEG, HF)

__all__ = ["MIT", "OWN", "TABLES"]
