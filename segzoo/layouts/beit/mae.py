"""`mae`: MAE's own files, pre-trained or fine-tuned, as MMSegmentation's MAE starts from them.

Source: `models_mae.py` and `models_vit.py` of facebookresearch/mae. Their names are those of a plain ViT, so this layout is read only where
the caller names it. The relative positions and the scales of MMSegmentation's MAE have the names that BEiT's authors give them.
"""

from segzoo.layouts.beit.blocks import joined_biases, positions
from segzoo.layouts.beit.family import BEIT, DECODER
from segzoo.layouts.beit.official import BLOCK, SECTIONS
from segzoo.layouts.layout import Layout

MAE = Layout(
    name="mae",
    title="facebookresearch MAE",
    family=BEIT,
    sections={
        **{section: rules for section, rules in SECTIONS.items() if section != "qv bias"},
        "positions": positions("{p}pos_embed"),
        "qkv bias": joined_biases(f"{BLOCK}.attn.qkv.bias"),
    },
    optional=frozenset({"relative positions", "scales"}),
    beside=(DECODER,),
    explicit=True,
)
