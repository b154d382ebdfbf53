"""`pyramid`: Feature2Pyramid, under `neck.` in mmseg 1.2.2; in the backbone of microsoft/unilm's BEiT, and beside that of transformers'.

It makes maps of four sizes of a plain ViT's or BEiT's, which all have one size: 4 and 2 times as large, the same, and half.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, Rule, affine, batch_norm


@dataclass(frozen=True, slots=True)
class FeaturePyramid:
    """The sizes of a Feature2Pyramid: its maps are as wide as the backbone's."""

    hidden: ClassVar[tuple[str, ...]] = ()

    kind: str
    width: int

    def __str__(self) -> str:
        return f"feature pyramid of width {self.width}"


@dataclass(frozen=True)
class FeaturePyramidNeck:
    """A Feature2Pyramid in a manifest. `width` is that of the backbone's maps, and of its own."""

    width: int

    def geometry(self, backbone: Any) -> FeaturePyramid:
        return FeaturePyramid("pyramid", self.width)


def measured(axes: Axes, depths: Depths) -> FeaturePyramid:
    """Raises ConversionError for other convolutions than mmseg's."""
    width = axes["lift"]
    expected = [("liftin", width, "channels into its convolutions, as many as out of them")]
    expected += [(axis, 2, "rows and columns of its convolutions") for axis in ("lifty", "liftx")]
    refuse_other_sizes("Feature2Pyramid", axes, expected)
    return FeaturePyramid("pyramid", width)


def shown(neck: FeaturePyramid, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    return {"lift": neck.width, "liftin": neck.width, "lifty": 2, "liftx": 2}, {}


def described(neck: FeaturePyramid) -> dict[str, Any]:
    return {"width": neck.width}


def rules(four: str, two: str) -> tuple[Rule, ...]:
    """The rules of a Feature2Pyramid. `four` and `two` are a library's names of what enlarges a map four times and twice."""
    twice = "liftin lift lifty liftx"
    return (
        *affine(f"{four}.0", "neck.four.first", twice, "lift"),
        *batch_norm(f"{four}.1", "neck.four.norm", "lift"),
        *affine(f"{four}.3", "neck.four.second", twice, "lift"),
        *affine(f"{two}.0", "neck.two", twice, "lift"),
    )


PYRAMID = Head(
    name="pyramid",
    title="feature pyramid",
    section="feature pyramid neck",
    rules={
        "mmseg": rules("neck.upsample_4x", "neck.upsample_2x"),
        "unilm": rules("backbone.fpn1", "backbone.fpn2"),
        "hf beit": rules("fpn1", "fpn2"),
    },
    measure=measured,
    shown=shown,
    record=FeaturePyramidNeck,
    describe=described,
)
