"""`segformer-nvlabs`: SegFormer's head as its authors have it, and transformers' SegformerForSemanticSegmentation, under `decode_head.` in both.

The axes of its tables: `level{l}` channels of level l, `mix` its own channels, `joined` those of all levels, the coarsest first, `c` classes.
Canonical names count from the finest level. MMSegmentation's own head is another network: see `segformer`.
"""

from dataclasses import dataclass, replace
from typing import Any

from segzoo.layouts.family import Axes, Head
from segzoo.layouts.heads.segformer import SegformerDecoder, shown
from segzoo.layouts.heads.segformer import measured as measured_alike
from segzoo.layouts.rule import Depths, Rule, affine, batch_norm

KIND = "segformer-nvlabs"


@dataclass(frozen=True)
class NvlabsHead:
    """The SegFormer head of its authors in a manifest. `levels` counts the maps that it takes, `channels` are its own."""

    classes: int
    channels: int = 256
    levels: int = 4

    def geometry(self, backbone: Any) -> SegformerDecoder:
        return SegformerDecoder(KIND, self.classes, self.channels, self.levels)


def measured(axes: Axes, depths: Depths) -> SegformerDecoder:
    """Raises ConversionError where the sum of channels does not fit."""
    return replace(measured_alike(axes, depths), kind=KIND)


def described(decoder: SegformerDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "channels": decoder.channels, "levels": decoder.levels}


def rules(level: str, fusion: str, norm: str, last: str) -> tuple[Rule, ...]:
    """The rules of the head, by a library's names of its layers."""
    return (
        *affine(f"decode_head.{level}.proj", "decoder.levels.{l}", "mix level{l}", "mix"),
        Rule(f"decode_head.{fusion}.weight", ("decoder.fusion.conv.weight",), "mix joined 1 1 -> mix joined"),
        *batch_norm(f"decode_head.{norm}", "decoder.fusion.norm", "mix"),
        *affine(f"decode_head.{last}", "decoder.conv", "c mix 1 1 -> c mix", "c"),
    )


_HF = rules("linear_c.{l}", "linear_fuse", "batch_norm", "classifier")
NVLABS = Head(
    name=KIND,
    title="NVlabs SegFormer",
    section="NVlabs SegFormer decoder",
    rules={"hf": _HF, "nvlabs": rules("linear_c{l+1}", "linear_fuse.conv", "linear_fuse.bn", "linear_pred"), "own": _HF},
    measure=measured,
    shown=shown,
    record=NvlabsHead,
    describe=described,
)
