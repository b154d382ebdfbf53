"""The tables, by name. A new layout is one file beside these and one line here."""

from segzoo.layouts.augreg import AUGREG
from segzoo.layouts.bigvision import BIGVISION
from segzoo.layouts.hf import HF
from segzoo.layouts.mmseg import MMSEG, OWN
from segzoo.layouts.rule import Depths, Layout, Rule
from segzoo.layouts.segmenter import SEGMENTER
from segzoo.layouts.timm import TIMM
from segzoo.layouts.torchvision import TORCHVISION

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (AUGREG, BIGVISION, TIMM, MMSEG, SEGMENTER, HF, TORCHVISION)}

__all__ = ["LAYOUTS", "OWN", "Depths", "Layout", "Rule"]
