"""`setr`: SETR's naive and progressive (PUP) heads (Zheng et al., CVPR 2021), both SETRUPHead, under `decode_head.` in mmseg 1.2.2.

The axes of its table: `d` width of the backbone, `up` its own channels, `upin{l}` channels into convolution l, `c` classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import Axes, Head, Shown
from segzoo.layouts.rule import Depths, affine, conv_module


@dataclass(frozen=True, slots=True)
class SetrDecoder:
    """The sizes of a SETRUPHead. `convs` counts its convolutions, `kernel` is their side, `scale` the factor by which each is enlarged."""

    hidden: ClassVar[tuple[str, ...]] = ("scale",)

    kind: str
    classes: int
    channels: int
    convs: int
    kernel: int
    scale: int | None = None

    def __str__(self) -> str:
        convs = "1 convolution" if self.convs == 1 else f"{self.convs} convolutions"
        return f"SETR head of {convs} of {self.channels} channels, {self.classes} classes"


@dataclass(frozen=True)
class SetrHead:
    """A SETRUPHead in a manifest: `convs` convolutions of side `kernel`, and after each the map is enlarged `scale` times. Naive has one
    convolution of side 1 and scale 4, PUP four of side 3 and scale 2.
    """

    classes: int
    convs: int
    kernel: int
    scale: int
    channels: int = 256
    eps: float = 1e-6

    def __post_init__(self) -> None:
        """Raises ValueError for a kernel that SETRUPHead has not."""
        if self.kernel not in (1, 3):
            raise ValueError("kernel is 1 or 3")

    def geometry(self, backbone: Any) -> SetrDecoder:
        return SetrDecoder("setr", self.classes, self.channels, self.convs, self.kernel, self.scale)


def measured(axes: Axes, depths: Depths) -> SetrDecoder:
    """Raises ConversionError for other convolutions than mmseg's."""
    for place in range(depths["l"]):
        expected = axes["up"] if place else axes["d"]
        if axes[f"upin{place}"] != expected:
            raise ConversionError(f"SETR's head: expected {expected} channels into convolution {place}, found {axes[f'upin{place}']}")
    if axes["upx"] != axes["upy"] or axes["upx"] not in (1, 3):
        raise ConversionError(f"SETR's head: expected convolutions of side 1 or 3, found {axes['upy']}x{axes['upx']}")
    return SetrDecoder("setr", axes["c"], axes["up"], depths["l"], axes["upx"])


def shown(decoder: SetrDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    axes = {"c": decoder.classes, "up": decoder.channels, "upy": decoder.kernel, "upx": decoder.kernel}
    axes |= {f"upin{place}": decoder.channels if place else maps[0] for place in range(decoder.convs)}
    return axes, {"l": decoder.convs}


def described(decoder: SetrDecoder) -> dict[str, Any]:
    sizes = {"classes": decoder.classes, "convs": decoder.convs, "kernel": decoder.kernel}
    return sizes | {"scale": None, "channels": decoder.channels, "eps": None}


SETR = Head(
    name="setr",
    title="SETR",
    section="SETR decoder",
    rules={
        "mmseg": (
            *affine("decode_head.conv_seg", "decoder.conv", "c up 1 1 -> c up", "c"),
            *affine("decode_head.norm", "decoder.norm", "d"),
            *conv_module("decode_head.up_convs.{l}.0", "decoder.convs.{l}", "up upin{l} upy upx", "up"),
        )
    },
    measure=measured,
    shown=shown,
    record=SetrHead,
    describe=described,
    eps=1e-6,
)
