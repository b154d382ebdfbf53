"""Convolutions of stride 1 that keep the size of a map, each in the way that is quickest on a processor."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.models.traced import only_computed
from segzoo.models.winograd import winograd


class Conv2d(nn.Conv2d):
    """torch's, of stride 1, with padding for the size to stay; see `convolution`."""

    def __init__(self, features: int, width: int, kernel: int, bias: bool = True):
        super().__init__(features, width, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return convolution(x, self.weight, self.bias)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps (b, in, h, w) convolved with a weight (out, in, k, k), with stride 1 and padding for the size to stay: (b, out, h, w).

    On a processor, in float32 without gradients, a kernel of side 1 is one matrix product an image, which needs no copy of the map in
    oneDNN's order, and one of side 3 with many channels goes by Winograd's algorithm. What else is in a batch changes no digit of an image.
    """
    width, features, *sides = weight.shape
    quick = only_computed() and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if quick and sides == [1, 1]:
        return _product(x, weight, bias)
    if quick and sides == [3, 3] and features >= 256 and width >= 128 and x.shape[2] * x.shape[3] >= 4096:
        return winograd(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=sides[0] // 2)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found = x.new_empty(len(x), len(weight), *x.shape[2:])
    for image, whole in zip(x.flatten(2), found.flatten(2), strict=True):
        if bias is None:
            torch.mm(weight.flatten(1), image, out=whole)
        else:
            torch.addmm(bias[:, None], weight.flatten(1), image, out=whole)
    return found
