"""`mmseg`: the ResNet of MMSegmentation, MMDetection and MMPreTrain, and whole models on it (mmseg 1.2.2, mmpretrain 1.2.0).

It has torchvision's names without the classifier. MMPreTrain's classifiers have theirs under `head.fc`.
"""

from dataclasses import replace

from segzoo.layouts.layout import AUXILIARY, Layout
from segzoo.layouts.resnet.family import RESNET
from segzoo.layouts.resnet.stages import sections
from segzoo.layouts.resnet.torchvision import BLOCKS, LAYERS
from segzoo.layouts.rule import affine

MMSEG = Layout(
    name="mmseg",
    title="MMSegmentation ResNet, alone or in a model",
    family=RESNET,
    eps=1e-5,
    prefixes=("", "backbone."),
    decoder_prefix="backbone.",
    heads="mmseg",
    sections=sections(stem=("{p}conv1", "{p}bn1"), blocks=BLOCKS, layers=LAYERS, shortcut=("downsample.0", "downsample.1")),
    optional=frozenset({"batch counts"}),
    beside=(AUXILIARY,),
    reasons={"classifier": "MMSegmentation's backbone has no classifier"},
)
OWN = replace(MMSEG, name="segzoo's model", optional=frozenset())
_CLASSIFIER = affine("head.fc", "head", "classes d3", "classes")
MMSEG = replace(MMSEG, spellings=(replace(MMSEG, sections={**MMSEG.sections, "classifier": _CLASSIFIER}),))
