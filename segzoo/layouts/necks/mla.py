"""`mla`: MLANeck, SETR's multi-level feature aggregation (Zheng et al., CVPR 2021), under `neck.` in mmseg 1.2.2."""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, affine, conv_module


@dataclass(frozen=True, slots=True)
class Mla:
    """The sizes of an MLANeck. `eps` is what the norms of its inputs have."""

    hidden: ClassVar[tuple[str, ...]] = ("eps",)
    class_token_unsure: ClassVar[bool] = True

    kind: str
    width: int
    levels: int
    eps: float | None = None

    def __str__(self) -> str:
        return f"MLA neck of width {self.width}"


@dataclass(frozen=True)
class MlaNeck:
    """An MLANeck in a manifest. `levels` counts its maps, `eps` is what the norms of its inputs have."""

    width: int = 256
    levels: int = 4
    eps: float = 1e-6

    def geometry(self, backbone: Any) -> Mla:
        return Mla("mla", self.width, self.levels, self.eps)


def measured(axes: Axes, depths: Depths) -> Mla:
    """Raises ConversionError for other convolutions than mmseg's."""
    expected = (("neckin", axes["neck"]), ("necky", 3), ("neckx", 3))
    refuse_other_sizes("MLANeck", axes, ((axis, must, "in its second convolutions") for axis, must in expected))
    return Mla("mla", axes["neck"], depths["n"])


def shown(neck: Mla, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    return {"neck": neck.width, "neckin": neck.width, "necky": 3, "neckx": 3}, {"n": neck.levels}


def described(neck: Mla) -> dict[str, Any]:
    return {"width": neck.width, "levels": neck.levels, "eps": None}


MLA = Head(
    name="mla",
    title="MLA neck",
    section="MLA neck",
    rules={
        "mmseg": (
            *affine("neck.norm.{n}", "neck.norms.{n}", "d"),
            *conv_module("neck.mla.channel_proj.{n}", "neck.projections.{n}", "neck d 1 1 -> neck d", "neck"),
            *conv_module("neck.mla.feat_extract.{n}", "neck.convs.{n}", "neck neckin necky neckx", "neck"),
        )
    },
    measure=measured,
    shown=shown,
    record=MlaNeck,
    describe=described,
    eps=1e-6,
)
