"""MLANeck, SETR's multi-level feature aggregation (Zheng et al., CVPR 2021), as in mmseg 1.2.2 `mmseg/models/necks/mla_neck.py`."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.layouts.necks.mla import Mla
from segzoo.models.conv_module import ConvModule
from segzoo.models.levels import refuse_other_maps
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted


class MLAModule(nn.Module):
    """Each map is projected, gets all deeper ones added, and goes through a 3x3 convolution. They come out deepest first."""

    def __init__(self, features: Sequence[int], width: int):
        super().__init__()
        self.channel_proj = nn.ModuleList(ConvModule(one, width, 1) for one in features)
        self.feat_extract = nn.ModuleList(ConvModule(width, width, 3) for _ in features)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        sums: list[Tensor] = []
        for level in [conv(level) for conv, level in zip(self.channel_proj, features, strict=True)][::-1]:
            sums.append(sums[-1] + level if sums else level)
        return tuple(conv(level) for conv, level in zip(self.feat_extract, sums, strict=True))


class MLANeck(nn.Module):
    """Maps of one size, each normalised, to as many of another width, the deepest first."""

    def __init__(self, *, features: Sequence[int], width: int, eps: float = 1e-6):
        super().__init__()
        self.widths = [width] * len(features)
        self.norm = nn.ModuleList(nn.LayerNorm(one, eps) for one in features)
        self.mla = MLAModule(features, width)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> tuple[Tensor, ...]:
        seen = noted(seen)
        normed = [norm(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, level in zip(self.norm, features, strict=True)]
        found = self.mla(normed)
        seen |= {f"neck{index}": level for index, level in enumerate(found)}
        return cast(tuple[Tensor, ...], found)


def mla_neck(geometry: Mla, backbone: Any) -> MLANeck:
    """An empty neck on the maps of a backbone. Raises ConversionError if they are not as many, or if the eps of its norms is not known."""
    widths = cast(Sequence[int], backbone.widths)
    if geometry.eps is None:
        raise ConversionError("the eps of the MLA neck's norms is not known; it decides the result and shows in no tensor")
    refuse_other_maps("the MLA neck", geometry.levels, widths)
    return made(MLANeck, features=widths, width=geometry.width, eps=geometry.eps)
