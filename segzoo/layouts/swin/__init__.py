"""Swin Transformer: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.swin.family import SWIN
from segzoo.layouts.swin.hf import HF
from segzoo.layouts.swin.mmseg import MMSEG, OWN
from segzoo.layouts.swin.official import OFFICIAL
from segzoo.layouts.swin.timm import TIMM
from segzoo.layouts.swin.torchvision import TORCHVISION

TABLES = (OFFICIAL, TIMM, MMSEG, HF, TORCHVISION)

__all__ = ["OWN", "SWIN", "TABLES"]
