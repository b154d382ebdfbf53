"""The tables, by name. A new layout is one file beside these and one line here."""

from segzoo.layouts.rule import Depths, Layout, Rule
from segzoo.layouts.vit.augreg import AUGREG
from segzoo.layouts.vit.bigvision import BIGVISION
from segzoo.layouts.vit.hf import HF
from segzoo.layouts.vit.mmseg import MMSEG, OWN
from segzoo.layouts.vit.segmenter import SEGMENTER
from segzoo.layouts.vit.timm import TIMM
from segzoo.layouts.vit.torchvision import TORCHVISION

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (AUGREG, BIGVISION, TIMM, MMSEG, SEGMENTER, HF, TORCHVISION)}

__all__ = ["LAYOUTS", "OWN", "Depths", "Layout", "Rule"]
