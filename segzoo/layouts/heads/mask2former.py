"""`mask2former`: Mask2FormerHead (Cheng et al., CVPR 2022), under `decode_head.` in mmseg 1.2.2 with mmdet 3.3.0.

The axes of its table: `level0` and so on channels of a level, `f` its own channels, `g` attention width, `o` mlp of a layer on queries, `pixmlp` mlp
of a layer on pixels, `points` sampling points of a pixel over all heads and levels, `offsets` two numbers for each of these, `scales` levels that
pixels attend to, `queries`, `said` classes and one for "nothing". Layers on pixels are counted by `l`, those on queries by `j`.
Level 0 is the finest.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from segzoo.errors import ConversionError
from segzoo.layouts.family import Axes, Head, Shown, refuse_other_sizes
from segzoo.layouts.rule import Depths, Rule, affine

LEVELS = 4
SCALES = 3
"""The levels whose pixels attend to one another: all but the finest."""
HEADS, GROUPS = 8, 32
"""As in the paper and in every config of mmseg."""


_SHOWN = ("channels", "queries", "layers", "mlp", "pixel_layers", "pixel_mlp", "samples")


@dataclass(frozen=True, slots=True)
class Mask2FormerDecoder:
    """The sizes of a Mask2FormerHead.

    `channels` are those of queries and pixels alike. `layers` are on queries, of MLPs of `mlp`; `pixel_layers` are on pixels, of MLPs of
    `pixel_mlp`. `samples` are the places that a pixel looks at in a level, over all heads. Heads, and the groups of norms, show in no tensor.
    """

    hidden: ClassVar[tuple[str, ...]] = ("heads", "groups")
    levels: ClassVar[int] = LEVELS

    kind: str
    classes: int
    channels: int
    queries: int
    layers: int
    mlp: int
    pixel_layers: int
    pixel_mlp: int
    samples: int
    heads: int | None = None
    groups: int | None = None

    def __str__(self) -> str:
        layers = f"{self.pixel_layers} layers on pixels and {self.layers} on {self.queries} queries"
        return f"Mask2Former head of {self.channels} channels, {layers}, {self.classes} classes"


@dataclass(frozen=True)
class Mask2FormerHead:
    """A Mask2FormerHead in a manifest. It takes four maps, the finest first.

    `channels` are those of queries and pixels alike. `layers` are on queries, of MLPs of `mlp`; `pixel_layers` are on pixels, of MLPs of
    `pixel_mlp`. `samples` are the places that a pixel looks at in a level, over all heads. `heads` are those of every attention, `groups` those
    of the norms.
    """

    classes: int
    channels: int = 256
    queries: int = 100
    layers: int = 9
    mlp: int = 2048
    pixel_layers: int = 6
    pixel_mlp: int = 1024
    samples: int = 32
    heads: int = HEADS
    groups: int = GROUPS

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if self.classes < 2:
            raise ValueError("classes are fewer than 2: MMSegmentation has no threshold for this head")
        for name, parts in (("channels", "heads"), ("channels", "groups"), ("samples", "heads")):
            if getattr(self, name) % getattr(self, parts):
                raise ValueError(f"{parts} do not divide {name}")
        if self.channels % 4:
            raise ValueError("channels are no multiple of 4: a position has a sine and a cosine for rows and for columns")

    def geometry(self, backbone: Any) -> Mask2FormerDecoder:
        return Mask2FormerDecoder("mask2former", **{name: getattr(self, name) for name in ("classes", *_SHOWN, "heads", "groups")})


def measured(axes: Axes, depths: Depths) -> Mask2FormerDecoder:
    """Raises ConversionError for other layers than mmseg's."""
    channels, points = axes["f"], axes["points"]
    expected = (
        ("g", channels, "channels of an attention"),
        ("scales", SCALES, "levels that pixels attend to"),
        ("offsets", 2 * points, f"offsets, of rows and columns of {points} points"),
        ("fy", 3, "rows of a convolution"),
        ("fx", 3, "columns of a convolution"),
    )
    refuse_other_sizes("Mask2Former's head", axes, expected)
    samples, left = divmod(points, SCALES)
    if left:
        raise ConversionError(f"Mask2Former's head: {points} points are not as many for each of {SCALES} levels")
    if axes["said"] < 3:
        raise ConversionError(f"Mask2Former's head: expected two classes and one for nothing, or more, found {axes['said']} in all")
    sizes = {"mlp": axes["o"], "pixel_layers": depths["l"], "pixel_mlp": axes["pixmlp"], "samples": samples}
    return Mask2FormerDecoder("mask2former", axes["said"] - 1, channels, axes["queries"], depths["j"], **sizes)


def shown(decoder: Mask2FormerDecoder, maps: tuple[int, ...]) -> Shown:
    """See `Head.shown`."""
    channels, points = decoder.channels, SCALES * decoder.samples
    axes = {"f": channels, "g": channels, "fy": 3, "fx": 3, "o": decoder.mlp, "pixmlp": decoder.pixel_mlp, "said": decoder.classes + 1}
    axes |= {"queries": decoder.queries, "scales": SCALES, "points": points, "offsets": 2 * points}
    return axes | {f"level{level}": width for level, width in enumerate(maps)}, {"l": decoder.pixel_layers, "j": decoder.layers}


def described(decoder: Mask2FormerDecoder) -> dict[str, Any]:
    return {name: getattr(decoder, name) for name in ("classes", *_SHOWN)} | {"heads": None, "groups": None}


def _convolution(key: str, holds: str, axes: str, bias: bool) -> tuple[Rule, ...]:
    """The rules of mmcv's ConvModule with GroupNorm."""
    weight, shift = affine(f"{key}.conv", f"{holds}.conv", axes, "f")
    return (weight, *((shift,) if bias else ()), *affine(f"{key}.gn", f"{holds}.norm", "f", "f"))


def _attention(key: str, holds: str) -> tuple[Rule, ...]:
    """The rules of an nn.MultiheadAttention."""
    return (
        Rule(f"{key}.in_proj_weight", tuple(f"{holds}.{part}.weight" for part in "qkv"), "(s g) f -> s g f"),
        Rule(f"{key}.in_proj_bias", tuple(f"{holds}.{part}.bias" for part in "qkv"), "(s g) -> s g"),
        *affine(f"{key}.out_proj", f"{holds}.proj", "f g", "f"),
    )


def _ffn(key: str, holds: str, mlp: str) -> tuple[Rule, ...]:
    return (
        *affine(f"{key}.ffn.layers.0.0", f"{holds}.fc1", f"{mlp} f", mlp),
        *affine(f"{key}.ffn.layers.1", f"{holds}.fc2", f"f {mlp}", "f"),
    )


def _norms(key: str, holds: str, count: int) -> tuple[Rule, ...]:
    return tuple(rule for place in range(count) for rule in affine(f"{key}.norms.{place}", f"{holds}.norms.{place}", "f", "f"))


_PIXELS = "decode_head.pixel_decoder"
_PIXEL_LAYER = f"{_PIXELS}.encoder.layers.{{l}}"
_LAYER = "decode_head.transformer_decoder.layers.{j}"

MASK2FORMER = Head(
    name="mask2former",
    title="Mask2Former",
    section="Mask2Former decoder",
    rules={
        "mmseg": (
            # mmdet counts these from the coarsest level
            *(
                rule
                for place, level in enumerate(reversed(range(LEVELS - SCALES, LEVELS)))
                for rule in _convolution(
                    f"{_PIXELS}.input_convs.{place}", f"decoder.inputs.{level}", f"f level{level} 1 1 -> f level{level}", bias=True
                )
            ),
            *affine(f"{_PIXEL_LAYER}.self_attn.sampling_offsets", "decoder.pixels.{l}.offsets", "offsets f", "offsets"),
            *affine(f"{_PIXEL_LAYER}.self_attn.attention_weights", "decoder.pixels.{l}.weights", "points f", "points"),
            *affine(f"{_PIXEL_LAYER}.self_attn.value_proj", "decoder.pixels.{l}.v", "g f", "g"),
            *affine(f"{_PIXEL_LAYER}.self_attn.output_proj", "decoder.pixels.{l}.proj", "f g", "f"),
            *_ffn(_PIXEL_LAYER, "decoder.pixels.{l}", "pixmlp"),
            *_norms(_PIXEL_LAYER, "decoder.pixels.{l}", 2),
            Rule(f"{_PIXELS}.level_encoding.weight", ("decoder.pixel_scales",), "scales f"),
            *_convolution(f"{_PIXELS}.lateral_convs.0", "decoder.lateral", "f level0 1 1 -> f level0", bias=False),
            *_convolution(f"{_PIXELS}.output_convs.0", "decoder.fusion", "f g fy fx", bias=False),
            *affine(f"{_PIXELS}.mask_feature", "decoder.mask_features", "f g 1 1 -> f g", "f"),
            *_attention(f"{_LAYER}.self_attn.attn", "decoder.blocks.{j}.among"),
            *_attention(f"{_LAYER}.cross_attn.attn", "decoder.blocks.{j}.across"),
            *_ffn(_LAYER, "decoder.blocks.{j}", "o"),
            *_norms(_LAYER, "decoder.blocks.{j}", 3),
            *affine("decode_head.transformer_decoder.post_norm", "decoder.norm", "f", "f"),
            Rule("decode_head.query_embed.weight", ("decoder.query_positions",), "queries f"),
            Rule("decode_head.query_feat.weight", ("decoder.queries",), "queries f"),
            Rule("decode_head.level_embed.weight", ("decoder.scales",), "scales f"),
            *affine("decode_head.cls_embed", "decoder.class_embed", "said f", "said"),
            *(rule for place in range(3) for rule in affine(f"decode_head.mask_embed.{2 * place}", f"decoder.mask_embed.{place}", "g f", "g")),
        )
    },
    measure=measured,
    shown=shown,
    record=Mask2FormerHead,
    describe=described,
    usual={"heads": HEADS, "groups": GROUPS},
)
