"""`multilevel`: MultiLevelNeck, under `neck.` in mmseg 1.2.2. It makes maps of several sizes of a plain ViT's, which all have one size."""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, affine


@dataclass(frozen=True, slots=True)
class MultiLevel:
    """The sizes of a MultiLevelNeck. `scales` are the factors by which it resizes its maps."""

    hidden: ClassVar[tuple[str, ...]] = ("scales",)

    kind: str
    width: int
    levels: int
    scales: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return f"multi-level neck of width {self.width}"


@dataclass(frozen=True)
class MultiLevelNeck:
    """A MultiLevelNeck in a manifest. `scales` are the factors by which it resizes its maps, one a map."""

    width: int
    scales: tuple[float, ...]

    def geometry(self, backbone: Any) -> MultiLevel:
        return MultiLevel("multilevel", self.width, len(self.scales), tuple(self.scales))


def measured(axes: Axes, depths: Depths) -> MultiLevel:
    """Raises ConversionError for other convolutions than mmseg's."""
    expected = (("neckin", axes["neck"]), ("necky", 3), ("neckx", 3))
    refuse_other_sizes("MultiLevelNeck", axes, ((axis, must, "in its second convolutions") for axis, must in expected))
    return MultiLevel("multilevel", axes["neck"], depths["n"])


def shown(neck: MultiLevel, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"neck": neck.width, "neckin": neck.width, "necky": 3, "neckx": 3}
    return axes | {f"map{level}": width for level, width in enumerate(maps)}, {"n": neck.levels}


def described(neck: MultiLevel) -> dict[str, Any]:
    return {"width": neck.width, "scales": None}


MULTILEVEL = Head(
    name="multilevel",
    title="multi-level neck",
    section="multi-level neck",
    rules={
        "mmseg": (
            *affine("neck.lateral_convs.{n}.conv", "neck.laterals.{n}", "neck map{n} 1 1 -> neck map{n}", "neck"),
            *affine("neck.convs.{n}.conv", "neck.convs.{n}", "neck neckin necky neckx", "neck"),
        )
    },
    measure=measured,
    shown=shown,
    record=MultiLevelNeck,
    describe=described,
)
