"""The plain Vision Transformer: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.vit.augreg import AUGREG
from segzoo.layouts.vit.bigvision import BIGVISION
from segzoo.layouts.vit.family import VIT
from segzoo.layouts.vit.hf import HF
from segzoo.layouts.vit.mmseg import MMSEG, OWN
from segzoo.layouts.vit.segmenter import SEGMENTER
from segzoo.layouts.vit.timm import TIMM
from segzoo.layouts.vit.torchvision import TORCHVISION

TABLES = (AUGREG, BIGVISION, TIMM, MMSEG, SEGMENTER, HF, TORCHVISION)

__all__ = ["OWN", "TABLES", "VIT"]
