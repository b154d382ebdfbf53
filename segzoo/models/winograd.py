"""3x3 convolutions by Winograd's algorithm, F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016).

36 multiplications make 16 pixels of the result, not 144. The price is rounding, which the points of the interpolation decide. With 0, 5/8,
-5/8, 3/2, -3/2 and infinity it is that of the plain convolution; with the paper's, of halves and twos, it is three to four times as large
(Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 2020).
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_NEAR, _FAR = 5 / 8, 3 / 2
_TILE, _SEEN = 4, 6
"""Rows and columns of a tile of the result, and of what it is made of."""
_AT_ONCE = 2**16
"""About how many tiles times channels are computed at once: few, so that they stay in the processor's cache."""


def winograd(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps (b, in, h, w) convolved with a weight (out, in, 3, 3), with zeros around them: (b, out, h, w)."""
    count, features, height, wide = x.shape
    width = len(weight)
    taps = (_kernels(weight) @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(_SEEN**2, width, features).transpose(1, 2)
    down, across = -(-height // _TILE), -(-wide // _TILE)
    rows = max(1, _AT_ONCE // (across * features))
    found = x.new_empty(count, width, height, wide)
    for image, whole in zip(x, found, strict=True):
        for first in range(0, down, rows):
            part = _strip(image, taps, _TILE * first, min(rows, down - first), across)
            end = min(_TILE * (first + rows), height)
            part = part[: end - _TILE * first, :wide]
            whole[:, _TILE * first : end] = (part if bias is None else part + bias).permute(2, 0, 1)
    return found


def _strip(image: Tensor, taps: Tensor, top: int, down: int, across: int) -> Tensor:
    """Rows of tiles of an image (in, h, w), from row `top` on: (4 * down, 4 * across, out)."""
    features, height, wide = image.shape
    seen = image.new_zeros(_TILE * down + 2, _TILE * across + 2, features)
    first, last = max(top - 1, 0), min(top + _TILE * down + 1, height)
    seen[first - top + 1 : last - top + 1, 1 : wide + 1] = image[:, first:last].permute(1, 2, 0)
    lines = seen.new_empty(_SEEN, down, len(seen[0]), features)
    _seen_from([seen[place : place + _TILE * down - 3 : _TILE] for place in range(_SEEN)], lines)
    tiles = seen.new_empty(_SEEN, _SEEN, down, across, features)
    _seen_from([lines[:, :, place : place + _TILE * across - 3 : _TILE] for place in range(_SEEN)], tiles.transpose(0, 1))
    products = (tiles.view(_SEEN**2, -1, features) @ taps).view(_SEEN, _SEEN, down, across, -1)
    lines = products.new_empty(_TILE, *products.shape[1:])
    _result_of(products, lines)
    found = products.new_empty(down, _TILE, across, _TILE, taps.shape[-1])
    _result_of(lines.transpose(0, 1), found.permute(3, 1, 0, 2, 4))
    return found.flatten(2, 3).flatten(0, 1)


def _kernels(like: Tensor) -> Tensor:
    """What a kernel's nine weights are in the 36 products (36, 9)."""
    points = [0, _NEAR, -_NEAR, _FAR, -_FAR]
    scales = [prod(point - other for other in points if other != point) for point in points]
    rows = [[1 / scale, point / scale, point**2 / scale] for point, scale in zip(points, scales, strict=True)]
    side = torch.tensor([*rows, [0, 0, 1]], dtype=torch.float64)
    return torch.kron(side, side).to(like.dtype)


def _seen_from(seen: Sequence[Tensor], into: Tensor) -> None:
    """The six places of tiles along a side, as they enter the products."""
    near, far = _NEAR**2, _FAR**2
    even, odd = torch.sub(seen[4], seen[2], alpha=far), torch.sub(seen[3], seen[1], alpha=far)
    torch.add(even, odd, alpha=_NEAR, out=into[1])
    torch.sub(even, odd, alpha=_NEAR, out=into[2])
    torch.sub(seen[4], seen[2], alpha=near, out=even)
    torch.sub(seen[3], seen[1], alpha=near, out=odd)
    torch.add(even, odd, alpha=_FAR, out=into[3])
    torch.sub(even, odd, alpha=_FAR, out=into[4])
    torch.sub(even, torch.sub(seen[2], seen[0], alpha=near, out=into[0]), alpha=far, out=into[0])
    torch.sub(torch.sub(seen[5], seen[3], alpha=near, out=into[5]), odd, alpha=far, out=into[5])


def _result_of(products: Tensor, into: Tensor) -> None:
    """The four places of tiles along a side, from their six products."""
    near, near_odd = products[1] + products[2], products[1] - products[2]
    far, far_odd = products[3] + products[4], products[3] - products[4]
    torch.add(near, far, out=into[0]).add_(products[0])
    torch.mul(near_odd, _NEAR, out=into[1]).add_(far_odd, alpha=_FAR)
    torch.mul(near, _NEAR**2, out=into[2]).add_(far, alpha=_FAR**2)
    torch.mul(near_odd, _NEAR**3, out=into[3]).add_(far_odd, alpha=_FAR**3).add_(products[5])
