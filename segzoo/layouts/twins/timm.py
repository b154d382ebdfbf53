"""`timm`: timm's Twins (checked against 1.0.31). It kept the authors' names; it is a classifier, without norms on the stages' outputs."""

from dataclasses import replace

from segzoo.layouts.twins.official import OFFICIAL

TIMM = replace(
    OFFICIAL,
    name="timm",
    title="timm Twins",
    suffix=".safetensors",
    prefixes=("",),
    decoder_prefix=None,
    heads=None,
    sections={name: rules for name, rules in OFFICIAL.sections.items() if name != "output norms"},
    beside=(),
)
