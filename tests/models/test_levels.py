"""Convolutions of joined maps, computed at each map's own size, and BatchNorm in place, against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segzoo.models.conv_module import normalised
from segzoo.models.levels import convolved, resized
from segzoo.models.seen import noted

SIZES = {
    "halves": [(16, 22), (8, 11), (4, 6), (2, 3)],
    "odd": [(13, 9), (7, 5), (4, 3)],
    "of one pixel": [(5, 7), (1, 1), (1, 3)],
    "alike": [(6, 6), (6, 6)],
    "finer than the first": [(4, 4), (9, 11)],
    "thin": [(1, 300), (1, 150)],
    "of several strips": [(300, 130), (150, 65), (3, 2)],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("kernel", "width", "bias"), [(3, 5, False), (1, 5, True), (5, 3, True), (3, 131, False)])
def test_a_convolution_of_joined_maps(sizes, kernel, width, bias):
    torch.manual_seed(0)
    maps = [torch.randn(2, 3 + index, *size, dtype=torch.float64) for index, size in enumerate(sizes)]
    conv = nn.Conv2d(sum(one.shape[1] for one in maps), width, kernel, padding=kernel // 2, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        joined = torch.cat([maps[0], *(F.interpolate(one, sizes[0], mode="bilinear", align_corners=False) for one in maps[1:])], 1)
        expected = F.conv2d(joined, conv.weight, conv.bias, padding=kernel // 2)
        torch.testing.assert_close(convolved(conv, maps), expected, rtol=1e-12, atol=1e-12)


def test_gradients_flow():
    torch.manual_seed(0)
    maps = [torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True) for size in ((6, 8), (3, 4))]
    conv = nn.Conv2d(4, 3, 3, padding=1, dtype=torch.float64)
    plain = conv(torch.cat([maps[0], resized(maps[1], maps[0])], 1)).square().sum()
    expected = torch.autograd.grad(plain, [*maps, *conv.parameters()])
    found = torch.autograd.grad(convolved(conv, maps).square().sum(), [*maps, *conv.parameters()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_batch_norm_in_place():
    torch.manual_seed(0)
    bn = nn.BatchNorm2d(5, eps=1e-3, dtype=torch.float64)
    for one in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
        nn.init.uniform_(one, 0.5, 2)
    x = torch.randn(2, 5, 7, 9, dtype=torch.float64)
    trained = bn.train()(x)
    torch.testing.assert_close(normalised(bn, x), trained)
    expected = bn.eval()(x)
    assert normalised(bn, x).requires_grad
    with torch.inference_mode():
        given = x.clone()
        found = normalised(bn, given)
    assert found.data_ptr() == given.data_ptr()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_intermediates_that_nobody_asked_for_are_not_kept():
    given, seen = {}, noted(None)
    seen["x"] = torch.ones(1)
    seen |= {"y": torch.ones(1)}
    seen.update({"z": torch.ones(1)})
    assert not seen
    assert noted(given) is given
