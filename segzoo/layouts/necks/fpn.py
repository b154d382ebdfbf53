"""`fpn`: FPN (Lin et al., CVPR 2017), under `neck.` in mmseg 1.2.2: as many maps out as in, no norms and no activations."""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, affine


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The sizes of an FPN. `width` is that of its maps, `levels` counts them."""

    hidden: ClassVar[tuple[str, ...]] = ()

    kind: str
    width: int
    levels: int

    def __str__(self) -> str:
        return f"FPN of width {self.width} on {self.levels} levels"


@dataclass(frozen=True)
class FPNNeck:
    """An FPN in a manifest. `width` is that of its maps, `levels` counts them."""

    width: int = 256
    levels: int = 4

    def geometry(self, backbone: Any) -> Pyramid:
        return Pyramid("fpn", self.width, self.levels)


def measured(axes: Axes, depths: Depths) -> Pyramid:
    """Raises ConversionError for other convolutions than mmseg's."""
    expected = (("neckin", axes["neck"]), ("necky", 3), ("neckx", 3))
    refuse_other_sizes("FPN", axes, ((axis, must, "in its second convolutions") for axis, must in expected))
    return Pyramid("fpn", axes["neck"], depths["n"])


def shown(neck: Pyramid, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"neck": neck.width, "neckin": neck.width, "necky": 3, "neckx": 3}
    return axes | {f"map{level}": width for level, width in enumerate(maps)}, {"n": neck.levels}


def described(neck: Pyramid) -> dict[str, Any]:
    return {"width": neck.width, "levels": neck.levels}


FPN = Head(
    name="fpn",
    title="FPN",
    section="FPN neck",
    rules={
        "mmseg": (
            *affine("neck.lateral_convs.{n}.conv", "neck.laterals.{n}", "neck map{n} 1 1 -> neck map{n}", "neck"),
            *affine("neck.fpn_convs.{n}.conv", "neck.convs.{n}", "neck neckin necky neckx", "neck"),
        )
    },
    measure=measured,
    shown=shown,
    record=FPNNeck,
    describe=described,
)
