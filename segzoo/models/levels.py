"""Maps of several levels, the finest first: how many there are, at one size, and convolved together."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import ConversionError
from segzoo.models.conv2d import convolution
from segzoo.models.traced import only_computed

_STRIP = 128
"""Rows or columns of the result that are computed at once. Few of a coarse map's reach them."""
_GROUP = 128
"""Channels of the result that are computed at once, for the memory's sake."""


def refuse_other_maps(part: str, wanted: int, widths: Sequence[int]) -> None:
    """Raises ConversionError if a neck or head does not get as many maps as it takes."""
    if len(widths) != wanted:
        raise ConversionError(f"{part} takes {wanted} maps, and {len(widths)} come out of the backbone: out_indices names them")


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A map at the size of another, bilinear, as all heads of mmseg's published models do (align_corners False)."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def enlarged(x: Tensor, times: int) -> Tensor:
    """A map at so many times its size, bilinear (align_corners False)."""
    return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)


def convolved(conv: nn.Conv2d, levels: Sequence[Tensor]) -> Tensor:
    """The convolution (b, out, h, w) of maps (b, in, ., .) that are resized to the first one's size (h, w) and joined along their channels.

    The convolution has stride 1 and padding for its size to stay. On a processor, without gradients, the coarser maps are not resized first:
    convolution and bilinear resizing are linear, so each tap of the kernel is applied at the coarse size, and what comes of it is resized and
    shifted by two matrix products. For an UPerNet's four levels that is 0.4 of the multiplications, and no joined map.
    """
    finest, *coarser = levels
    if finest.device.type != "cpu" or not only_computed():
        return conv(torch.cat([finest, *(resized(level, finest) for level in coarser)], 1))
    weights = conv.weight.split([level.shape[1] for level in levels], 1)
    found = convolution(finest, weights[0], conv.bias)
    for level, weight in zip(coarser, weights[1:], strict=True):
        _add(found, level, weight)
    return found


def _add(found: Tensor, level: Tensor, weight: Tensor) -> None:
    """Add the convolution of a coarser map, by its share (out, in, k, k) of the weight."""
    (h, w), (height, wide), kernel = level.shape[-2:], found.shape[-2:], weight.shape[-1]
    rows, columns = (_shifted(coarse, fine, kernel, level) for coarse, fine in ((h, height), (w, wide)))
    for image, whole in zip(level, found, strict=True):
        for some, part in zip(weight.split(_GROUP), whole.split(_GROUP), strict=True):
            taps = some.permute(3, 0, 2, 1).reshape(-1, len(image))
            tapped = (taps @ image.flatten(1)).view(kernel, -1, w)
            across = torch.cat([_summed(tapped, strip) for strip in columns.split(_STRIP, 1)], 1).view(len(part), kernel, h, wide)
            for strip, band in zip(rows.split(_STRIP, 1), part.split(_STRIP, 1), strict=True):
                first, last = _reached(strip)
                band += strip[:, :, first:last].transpose(0, 1).flatten(1) @ across[:, :, first:last].flatten(1, 2)


def _summed(tapped: Tensor, strip: Tensor) -> Tensor:
    """Rows (kernel, n, coarse) by matrices (kernel, fine, coarse), summed over the taps: (n, fine)."""
    first, last = _reached(strip)
    total, *others = zip(tapped[:, :, first:last], strip[:, :, first:last], strict=True)
    found = total[0] @ total[1].T
    for tap, shift in others:
        found.addmm_(tap, shift.T)
    return found


def _shifted(coarse: int, fine: int, kernel: int, like: Tensor) -> Tensor:
    """Matrices (kernel, fine, coarse) that resize a side and shift it by each tap's distance from the kernel's middle; zero from outside."""
    grown = F.interpolate(torch.eye(coarse, dtype=like.dtype)[None], fine, mode="linear", align_corners=False)[0].T
    padded = F.pad(grown, (0, 0, kernel // 2, kernel // 2))
    return torch.stack([padded[tap : tap + fine] for tap in range(kernel)])


def _reached(strip: Tensor) -> tuple[int, int]:
    """The first and the last place, exclusive, that matrices (kernel, to, from) take anything from."""
    places = strip.any(0).any(0).nonzero()
    return int(places[0]), int(places[-1]) + 1
