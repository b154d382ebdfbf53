"""`official`: NVlabs' MiT, as its classifiers and its SegFormers name it.

Source: `mmseg/models/backbones/mix_transformer.py` of NVlabs/SegFormer. Its norms have eps 1e-6, but those after a convolution torch's 1e-5.
"""

from segzoo.layouts.heads.segformer import SEGFORMER
from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.mit.family import MIT, UNLIKE
from segzoo.layouts.mit.stages import encoder
from segzoo.layouts.rule import affine, output_norms
from segzoo.layouts.twins.stages import STAGES, all_global

_BLOCKS = [f"{{p}}block{stage + 1}.{{{letter}}}" for stage, letter in STAGES]

OFFICIAL = Layout(
    name="official",
    title="NVlabs MiT, alone or in a SegFormer",
    family=MIT,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="nvlabs",
    sections={
        "encoder": (
            *encoder(
                patches=[(f"{{p}}patch_embed{stage + 1}.proj", f"{{p}}patch_embed{stage + 1}.norm") for stage, _ in STAGES],
                blocks=_BLOCKS,
                norms=("norm1", "norm2"),
                mlp=("mlp.fc1", "mlp.dwconv.dwconv", "mlp.fc2"),
            ),
            *all_global(_BLOCKS, (("attn.q.%s", "q"), ("attn.kv.%s", "kv")), "attn.proj"),
            *output_norms(*(f"{{p}}norm{stage + 1}" for stage, _ in STAGES)),
        ),
        "classifier": affine("{p}head", "head", "classes d3", "classes"),
    },
    unlike={SEGFORMER.section: UNLIKE},
    beside=(Beside(("decode_head.conv_seg.",), "unused layer", "the head has a last layer of its own", prefix="backbone."),),
)
