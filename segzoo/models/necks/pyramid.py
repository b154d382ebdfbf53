"""Feature2Pyramid, as in mmseg 1.2.2 `mmseg/models/necks/featurepyramid.py`."""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import EnvironmentFault
from segzoo.layouts.necks.pyramid import FeaturePyramid
from segzoo.models.levels import refuse_other_maps
from segzoo.models.made import made
from segzoo.models.seen import Seen, noted
from segzoo.models.traced import traced

_LEVELS = 4


class Feature2Pyramid(nn.Module):
    """Four maps of one size to maps of 4 and 2 times its sides, of its sides, and of half its sides, rounded down."""

    def __init__(self, *, width: int):
        super().__init__()
        self.widths = [width] * _LEVELS
        self.upsample_4x = nn.Sequential(self._twice(width), nn.BatchNorm2d(width), nn.GELU(), self._twice(width))
        self.upsample_2x = nn.Sequential(self._twice(width))

    @staticmethod
    def _twice(width: int) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(width, width, 2, 2)

    def forward(self, features: Sequence[Tensor], seen: Seen | None = None) -> tuple[Tensor, ...]:
        """Raises EnvironmentFault for a map of a single row or column, which has no half."""
        seen = noted(seen)
        first, second, third, last = features
        if not traced() and min(last.shape[-2:]) < 2:
            raise EnvironmentFault(f"too small: a map of {last.shape[-2]}x{last.shape[-1]} has no half")
        found = (self.upsample_4x(first), self.upsample_2x(second), third, F.max_pool2d(last, 2, 2))
        seen |= {f"neck{index}": level for index, level in enumerate(found)}
        return cast(tuple[Tensor, ...], found)


def pyramid_neck(geometry: FeaturePyramid, backbone: Any) -> Feature2Pyramid:
    """An empty neck on the maps of a backbone. Raises ConversionError if they are not four."""
    refuse_other_maps("the feature pyramid", _LEVELS, cast(Sequence[int], backbone.widths))
    return made(Feature2Pyramid, width=geometry.width)
