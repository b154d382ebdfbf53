"""From masks of queries to pixels: masks resized to their window, a sigmoid, the classes that they mean, then as with other scores.

mmseg 1.2.2's Mask2FormerHead makes scores of masks at the padded size of a window. The sigmoid is not linear, so the way to pixels is no
single matrix as in `windows`. It is gone in two parts, a few rows of pixels at a time: no mask and no score exists at full size as a whole.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from segzoo.evaluation.windows import Axis, View, grown
from segzoo.models.masks import Masks


@dataclass(frozen=True)
class Masked:
    """A view after a model whose head gives masks: those of all its windows, row by row."""

    view: View
    masks: Masks

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image at its original size."""
        return self.view.rows.target, self.view.columns.target

    @property
    def device(self) -> torch.device:
        return self.masks.masks.device

    def wide(self) -> "_Wide":
        return _Wide(self)


@lru_cache(1024)
def spread(axis: Axis, patches: int, device: torch.device) -> Tensor:
    """The way of a window's masks along an axis to the pixels of the window: (pixels, patches)."""
    return grown(axis, patches).T.contiguous().to(device)


@lru_cache(1024)
def joined(axis: Axis, device: torch.device) -> Tensor:
    """The way of summed windows along an axis to the original size: (pixels, pixels of the resized image). Overlaps are averaged."""
    return F.interpolate((torch.eye(axis.length) / axis.overlaps)[None], axis.target, mode="linear")[0].T.contiguous().to(device)


def reached(share: Tensor) -> tuple[int, int]:
    """The first and the last column, exclusive, in which some rows of a matrix have anything."""
    places = share.any(0).nonzero()
    return int(places[0]), int(places[-1]) + 1


class _Wide:
    """A view's scores, some rows of pixels at a time."""

    def __init__(self, masked: Masked):
        self.view, (self.masks, self.classes) = masked.view, masked.masks
        self.channels = max(self.classes.shape[1:])
        self.shares = joined(self.view.rows, masked.device)
        self.overlaps = self.view.columns.overlaps.to(masked.device)

    def scores(self, top: int, bottom: int) -> Tensor:
        share = self.shares[top:bottom]
        first, last = reached(share)
        found = self._summed(first, last).div_(self.overlaps)
        if self.view.flipped:
            found = found.flip(2)
        if self.view.columns.target != self.view.columns.length:
            found = F.interpolate(found, self.view.columns.target, mode="linear")
        return (share[:, first:last] @ found.flatten(1)).unflatten(1, found.shape[1:])

    def _summed(self, first: int, last: int) -> Tensor:
        """The scores of all windows at some rows of the resized image, summed: (rows, c, columns)."""
        across = self.view.columns.windows
        found = self.masks.new_zeros(last - first, self.classes.shape[2], self.view.columns.length)
        for row, (begin, end) in enumerate(self.view.rows.windows):
            top, bottom = max(first, begin), min(last, end)
            for column, (left, right) in enumerate(across if top < bottom else ()):
                found[top - first : bottom - first, :, left:right] += self._scores(row * len(across) + column, top - begin, bottom - begin)
        return found

    def _scores(self, window: int, top: int, bottom: int) -> Tensor:
        """The scores of some rows of a window: (rows, c, columns)."""
        masks, axis = self.masks[window], self.view.columns
        share = spread(self.view.rows, masks.shape[1], masks.device)[top:bottom]
        first, last = reached(share)
        wide = F.interpolate(masks[:, first:last].transpose(0, 1), axis.whole, mode="linear")[..., : axis.side]
        shares = (share[:, first:last] @ wide.flatten(1)).sigmoid_().unflatten(1, (len(masks), -1))
        return self.classes[window].T @ shares
