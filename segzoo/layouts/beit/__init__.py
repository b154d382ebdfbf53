"""BEiT, and MAE with relative positions: sizes, and names in each library. A new layout is one file here and one line below."""

from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.beit.hf import HF
from segzoo.layouts.beit.mae import MAE
from segzoo.layouts.beit.mmseg import MMSEG, OWN
from segzoo.layouts.beit.official import OFFICIAL
from segzoo.layouts.beit.timm import TIMM

TABLES = (OFFICIAL, TIMM, MMSEG, HF, MAE)

__all__ = ["BEIT", "OWN", "TABLES"]
