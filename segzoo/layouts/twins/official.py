"""`official`: Meituan's Twins, as its classifiers and the backbones of its segmentation program name it.

Sources: `gvt.py` and `segmentation/gvt.py` of Meituan-AutoML/Twins. Its segmentation models keep the classifier's norm and head, unused.
"""

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.twins.family import TWINS
from segzoo.layouts.twins.stages import STAGES, all_global, alternating, blocks, encoder

_BLOCKS = blocks("{p}blocks.%d.%s")
_JOINED = (("attn.q.%s", "q"), ("attn.kv.%s", "kv"))

OFFICIAL = Layout(
    name="official",
    title="Meituan Twins, alone or in a model",
    family=TWINS,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections={
        "encoder": encoder(
            patches="{p}patch_embeds.%d", patch="proj", positions="{p}pos_block.%d.proj.0", blocks=_BLOCKS, mlp=("mlp.fc1", "mlp.fc2")
        ),
        "global attention": all_global(_BLOCKS, _JOINED, "attn.proj"),
        "alternating attention": alternating(_BLOCKS, _JOINED, "attn.proj"),
        "output norms": output_norms(*(f"{{p}}norm_list.{stage}" for stage, _ in STAGES)),
        "final norm": affine("{p}norm", "norm", "d3", "d3"),
        "classifier": affine("{p}head", "head", "classes d3", "classes"),
    },
    beside=(AUXILIARY,),
)
