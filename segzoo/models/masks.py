"""What a head of queries gives instead of scores: masks, and what each means."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Masks(NamedTuple):
    """Masks (b, q, h, w), of which a sigmoid makes shares of pixels, and the probability (b, q, c) of each class for each of them."""

    masks: Tensor
    classes: Tensor

    def at(self, size: tuple[int, int]) -> Tensor:
        """The scores (b, c, H, W). Masks are resized before the sigmoid, as MMSegmentation does."""
        grown = F.interpolate(self.masks, size, mode="bilinear", align_corners=False)
        return torch.einsum("bqc,bqhw->bchw", self.classes, grown.sigmoid())
