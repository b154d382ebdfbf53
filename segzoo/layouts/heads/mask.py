"""`mask`: the mask transformer of Segmenter (Strudel et al., ICCV 2021), under `decode_head.` in mmseg 1.2.2 and `decoder.` in rstrudel/segmenter.

In rstrudel/segmenter `proj_patch` and `proj_classes` are bare parameters, used as `x @ P`. A Linear's weight is their transpose.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown
from segzoo.layouts.rule import Depths, Rule, affine
from segzoo.layouts.vit.mmseg import attention_bias
from segzoo.layouts.vit.mmseg import block as mmseg_block
from segzoo.layouts.vit.segmenter import block as segmenter_block


@dataclass(frozen=True, slots=True)
class Decoder:
    """The sizes of a Segmenter's head. `heads` is None if it is not known: no tensor shows it."""

    hidden: ClassVar[tuple[str, ...]] = ("heads",)

    kind: str
    classes: int
    depth: int = 0
    width: int | None = None
    mlp: int | None = None
    heads: int | None = None

    def __str__(self) -> str:
        layers = f" of depth {self.depth}" if self.depth else ""
        return f"{self.kind} decoder{layers}, {self.classes} classes"


@dataclass(frozen=True)
class MaskHead:
    """A mask transformer in a manifest."""

    classes: int
    depth: int
    heads: int
    mlp: int
    eps: float

    def geometry(self, backbone: Any) -> Decoder:
        return Decoder("mask", self.classes, self.depth, backbone.width, self.mlp, self.heads)


def measured(axes: Axes, depths: Depths) -> Decoder:
    return Decoder("mask", axes["c"], depths["j"], axes["f"], axes.get("o"))


def shown(decoder: Decoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    width = decoder.width or maps[-1]
    return {"c": decoder.classes, "f": width, "g": width, "o": decoder.mlp or 0}, {"j": decoder.depth}


def described(decoder: Decoder) -> dict[str, Any]:
    return {"depth": decoder.depth, "heads": decoder.heads, "mlp": decoder.mlp, "classes": decoder.classes, "eps": None}


_MMSEG = (
    *affine("decode_head.dec_proj", "decoder.input", "f d", "f"),
    Rule("decode_head.cls_emb", ("decoder.classes",), "1 c f"),
    *mmseg_block("decode_head.layers.{j}", "decoder.blocks.{j}", "f", "g", "o"),
    *attention_bias("decode_head.layers.{j}", "decoder.blocks.{j}", "f", "g"),
    *affine("decode_head.decoder_norm", "decoder.norm", "f", "f"),
    Rule("decode_head.patch_proj.weight", ("decoder.patch_proj.weight",), "g f"),
    Rule("decode_head.classes_proj.weight", ("decoder.classes_proj.weight",), "g f"),
    *affine("decode_head.mask_norm", "decoder.mask_norm", "c", "c"),
)
_SEGMENTER = (
    *affine("decoder.proj_dec", "decoder.input", "f d", "f"),
    Rule("decoder.cls_emb", ("decoder.classes",), "1 c f"),
    *segmenter_block("decoder.blocks.{j}", "decoder.blocks.{j}", "f", "g", "o"),
    *affine("decoder.decoder_norm", "decoder.norm", "f", "f"),
    Rule("decoder.proj_patch", ("decoder.patch_proj.weight",), "f g -> g f"),
    Rule("decoder.proj_classes", ("decoder.classes_proj.weight",), "f g -> g f"),
    *affine("decoder.mask_norm", "decoder.mask_norm", "c", "c"),
)

MASK = Head(
    name="mask",
    title="Segmenter Mask",
    section="mask decoder",
    rules={"mmseg": _MMSEG, "segmenter": _SEGMENTER},
    measure=measured,
    shown=shown,
    record=MaskHead,
    describe=described,
    eps=1e-5,
)
