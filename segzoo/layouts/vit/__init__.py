"""The plain Vision Transformer: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.vit.augreg import AUGREG
from segzoo.layouts.vit.bigvision import BIGVISION
from segzoo.layouts.vit.dinov2 import DINOV2
from segzoo.layouts.vit.family import VIT
from segzoo.layouts.vit.hf import HF
from segzoo.layouts.vit.jeonsworld import JEONSWORLD
from segzoo.layouts.vit.mmpretrain import MMPRETRAIN
from segzoo.layouts.vit.mmseg import MMSEG, OWN
from segzoo.layouts.vit.openclip import OPENCLIP
from segzoo.layouts.vit.segmenter import SEGMENTER
from segzoo.layouts.vit.timm import TIMM
from segzoo.layouts.vit.torchvision import TORCHVISION

TABLES = (AUGREG, BIGVISION, TIMM, MMSEG, SEGMENTER, HF, TORCHVISION, DINOV2, MMPRETRAIN, OPENCLIP, JEONSWORLD)

__all__ = ["OWN", "TABLES", "VIT"]
