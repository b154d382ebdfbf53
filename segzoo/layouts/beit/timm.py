"""`timm`: timm's Beit (checked against 1.0.31): its authors' names, without the index."""

from segzoo.layouts.beit.blocks import index, pairs
from segzoo.layouts.beit.family import BEIT
from segzoo.layouts.beit.official import INDEX, SECTIONS
from segzoo.layouts.layout import Layout
from segzoo.layouts.rule import Buffer

TIMM = Layout(
    name="timm",
    title="timm Beit",
    family=BEIT,
    suffix=".safetensors",
    sections=SECTIONS,
    optional=frozenset({"scales"}),
    buffers=(Buffer(INDEX, index, pairs, written=False),),
)
