"""`mmseg`: the PCPVT and SVT of MMSegmentation, and whole models on them (mmseg 1.2.2). MMPreTrain's are read too (1.2.0)."""

from collections.abc import Sequence
from dataclasses import replace

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.rule import Rule, affine, output_norms
from segzoo.layouts.twins.family import TWINS
from segzoo.layouts.twins.stages import STAGES, Joined, all_global, alternating, blocks, encoder


def _backbone(blocks: Sequence[str], joined: Joined, proj: str, norms: str) -> dict[str, tuple[Rule, ...]]:
    return {
        "encoder": encoder(
            patches="{p}patch_embeds.%d",
            patch="projection",
            positions="{p}position_encodings.%d.proj",
            blocks=blocks,
            mlp=("ffn.layers.0.0", "ffn.layers.1"),
        ),
        "global attention": all_global(blocks, joined, proj),
        "alternating attention": alternating(blocks, joined, proj),
        "output norms": output_norms(*(norms % stage for stage, _ in STAGES)),
    }


MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation PCPVT and SVT, alone or in a model",
    family=TWINS,
    eps=1e-5,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections=_backbone(blocks("{p}layers.%d.%s"), (("attn.attn.in_proj_%s", "qkv"),), "attn.attn.out_proj", "{p}norm_list.%d"),
    beside=(AUXILIARY,),
    reasons={
        "final norm": "MMSegmentation's backbone gives the maps before it",
        "classifier": "MMSegmentation's backbone has no classifier",
    },
)
OWN = replace(MMSEG, name="segzoo's model")
# What twins2mmseg.py makes of a classifier has its final norm. MMPreTrain's classifiers have the last output's norm alone, which is that norm.
_FINAL = affine("{p}norm", "norm", "d3", "d3")
_NORM = "{p}norm_after_stage%d"
_MMPRETRAIN = _backbone(blocks("{p}stages.%d.%s"), (("attn.q.%s", "q"), ("attn.kv.%s", "kv")), "attn.proj", _NORM)
_CLASSIFIER = {"final norm": affine(_NORM % 3, "norm", "d3", "d3"), "classifier": affine("head.fc", "head", "classes d3", "classes")}
_WITHOUT_NORMS = {name: rules for name, rules in _MMPRETRAIN.items() if name != "output norms"}
MMSEG = replace(
    MMSEG,
    spellings=(
        replace(MMSEG, sections={**MMSEG.sections, "final norm": _FINAL}),
        replace(MMSEG, sections=_MMPRETRAIN),
        replace(MMSEG, sections={**_WITHOUT_NORMS, **_CLASSIFIER}),
    ),
)
