"""`dpt`: the head of DPT (Ranftl et al., ICCV 2021) with projected readout, DPTHead, under `decode_head.` in mmseg 1.2.2.

The axes of its table: `d` width of the backbone, `pair` patch and class token side by side, `part{k}` channels of level k, `fuse` channels
of the fusion, `c` classes. Level 0 is the finest, fusion 0 that of the coarsest.

transformers' DPTForSemanticSegmentation has a place for each of these tensors and is another network: it doubles the scores once more with
aligned corners, resizes positions bilinearly, takes square grids only, and its first fusion has a unit more, which it does not use.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, Rule, affine, conv_module

LEVELS = 4
_RESIZED = {0: 4, 1: 2, 3: 3}  # the side of the kernel by which a level is resized; level 2 keeps its size


@dataclass(frozen=True, slots=True)
class DptDecoder:
    """The sizes of a DPTHead. `widths` are the channels of its levels, `channels` those of the fusion."""

    hidden: ClassVar[tuple[str, ...]] = ()
    levels: ClassVar[int] = LEVELS
    takes_class_token: ClassVar[bool] = True

    kind: str
    classes: int
    channels: int
    widths: tuple[int, ...]

    def __str__(self) -> str:
        return f"DPT head of {self.channels} channels on levels of {', '.join(map(str, self.widths))}, {self.classes} classes"


@dataclass(frozen=True)
class DptHead:
    """A DPTHead in a manifest. `widths` are the channels of its four levels, the finest first, `channels` those of the fusion."""

    classes: int
    widths: tuple[int, ...]
    channels: int = 256

    def __post_init__(self) -> None:
        """Raises ValueError for another number of levels than four."""
        if len(self.widths) != LEVELS:
            raise ValueError(f"widths are those of {LEVELS} levels")

    def geometry(self, backbone: Any) -> DptDecoder:
        return DptDecoder("dpt", self.classes, self.channels, tuple(self.widths))


def measured(axes: Axes, depths: Depths) -> DptDecoder:
    """Raises ConversionError for other layers than mmseg's."""
    width, channels = axes["d"], axes["fuse"]
    widths = tuple(axes[f"part{level}"] for level in range(LEVELS))
    expected = [("pair", 2 * width, "channels into the readout, of a patch and the class token"), ("fused", channels, "channels in the fusion")]
    expected += [(f"fuse{side}", 3, "rows and columns of a convolution") for side in "yx"]
    for level, kernel in _RESIZED.items():
        expected += [(f"grown{level}", widths[level], f"channels of level {level}")]
        expected += [(f"grow{side}{level}", kernel, f"rows and columns by which level {level} is resized") for side in "yx"]
    refuse_other_sizes("DPT's head", axes, expected)
    return DptDecoder("dpt", axes["c"], channels, widths)


def shown(decoder: DptDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`. The backbone's maps are all of one width."""
    axes = {"c": decoder.classes, "fuse": decoder.channels, "fused": decoder.channels, "fusey": 3, "fusex": 3, "pair": 2 * maps[0]}
    axes |= {f"part{level}": width for level, width in enumerate(decoder.widths)}
    for level, kernel in _RESIZED.items():
        axes |= {f"grown{level}": decoder.widths[level], f"growy{level}": kernel, f"growx{level}": kernel}
    return axes, {}


def described(decoder: DptDecoder) -> dict[str, Any]:
    return {"classes": decoder.classes, "widths": decoder.widths, "channels": decoder.channels}


def _level(level: int) -> tuple[Rule, ...]:
    """The rules of one level: readout, projection, resizing, and the convolution to the fusion's channels."""
    key = "decode_head.reassemble_blocks"
    grown = f"part{level} grown{level} growy{level} growx{level}"
    resized = affine(f"{key}.resize_layers.{level}", f"decoder.resizings.{level}", grown, f"part{level}") if level in _RESIZED else ()
    return (
        *affine(f"{key}.readout_projects.{level}.0", f"decoder.readouts.{level}", "d pair"),
        *affine(f"{key}.projects.{level}.conv", f"decoder.projections.{level}", f"part{level} d 1 1 -> part{level} d", f"part{level}"),
        *resized,
        Rule(f"decode_head.convs.{level}.conv.weight", (f"decoder.levels.{level}.weight",), f"fuse part{level} fusey fusex"),
    )


def _fusion(place: int) -> tuple[Rule, ...]:
    """The rules of one fusion. The first has no finer map to add, and no unit for it."""
    key, holds, kernel = f"decode_head.fusion_blocks.{place}", f"decoder.fusions.{place}", "fuse fused fusey fusex"
    units = [(unit, conv) for unit in ((1, 2) if place else (2,)) for conv in (1, 2)]
    return (
        *affine(f"{key}.project.conv", f"{holds}.projection", "fuse fused 1 1 -> fuse fused", "fuse"),
        *(
            rule
            for unit, conv in units
            for rule in conv_module(f"{key}.res_conv_unit{unit}.conv{conv}", f"{holds}.units.{unit}.{conv}", kernel, "fuse")
        ),
    )


DPT = Head(
    name="dpt",
    title="DPT",
    section="DPT decoder",
    rules={
        "mmseg": (
            *affine("decode_head.conv_seg", "decoder.conv", "c fuse 1 1 -> c fuse", "c"),
            *(rule for level in range(LEVELS) for rule in _level(level)),
            *(rule for place in range(LEVELS) for rule in _fusion(place)),
            *conv_module("decode_head.project", "decoder.projection", "fuse fused fusey fusex", "fuse"),
        )
    },
    measure=measured,
    shown=shown,
    record=DptHead,
    describe=described,
)
