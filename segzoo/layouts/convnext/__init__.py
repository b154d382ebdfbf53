"""ConvNeXt: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.convnext.family import CONVNEXT
from segzoo.layouts.convnext.hf import HF
from segzoo.layouts.convnext.mmseg import MMSEG, OWN
from segzoo.layouts.convnext.official import OFFICIAL
from segzoo.layouts.convnext.timm import TIMM
from segzoo.layouts.convnext.torchvision import TORCHVISION

TABLES = (OFFICIAL, TIMM, MMSEG, HF, TORCHVISION)

__all__ = ["CONVNEXT", "OWN", "TABLES"]
