"""ResNet: its sizes, and its names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.resnet.family import RESNET
from segzoo.layouts.resnet.hf import HF
from segzoo.layouts.resnet.mmseg import MMSEG, OWN
from segzoo.layouts.resnet.torchvision import TIMM, TORCHVISION

TABLES = (TORCHVISION, TIMM, MMSEG, HF)

__all__ = ["OWN", "RESNET", "TABLES"]
