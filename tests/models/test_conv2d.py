"""Convolutions by matrix products and by Winograd's algorithm against torch's in float64, on maps of all kinds and sizes."""

import pytest
import torch
import torch.nn.functional as F

from segzoo.models import conv2d
from segzoo.models.conv2d import Conv2d, convolution
from segzoo.models.heads.uper import UPerHead


def rounding(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.fixture
def calls(monkeypatch):
    """How often Winograd's algorithm is used."""
    counted = []
    plain = conv2d.winograd
    monkeypatch.setattr(conv2d, "winograd", lambda *given: counted.append(1) or plain(*given))
    return counted


@pytest.mark.parametrize("size", [(64, 64), (33, 131), (1, 4096), (4100, 1), (2, 2049), (67, 62), (25, 171)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution_at_every_size(size, bias, calls):
    torch.manual_seed(0)
    conv = Conv2d(256, 130, 3, bias=bias).requires_grad_(False)
    x = torch.randn(2, 256, *size)
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double() if bias else None, padding=1)
    with torch.inference_mode():
        found = conv(x)
    assert calls
    assert found.shape == exact.shape
    assert found.is_contiguous()
    assert rounding(found, exact) < 5e-6


MAPS = {
    "as after a ReLU": lambda x: x.relu(),
    "far from zero": lambda x: x / 10 + 10,
    "one large channel": lambda x: torch.cat([1000 * x[:, :1], x[:, 1:]], 1),
    "one bright row": lambda x: x.index_fill(2, torch.tensor([20]), 100.0),
    "smooth": lambda x: F.interpolate(x[:, :, :6, :8], x.shape[-2:], mode="bilinear"),
    "of another order in memory": lambda x: x.to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("kind", MAPS)
def test_its_rounding_is_that_of_a_plain_convolution(kind, calls):
    torch.manual_seed(0)
    x, weight = MAPS[kind](torch.randn(1, 256, 67, 63)), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    with torch.inference_mode():
        found = convolution(x, weight)
        assert calls
        assert rounding(found, exact) < 2.5 * rounding(F.conv2d(x, weight, padding=1), exact)


def test_it_is_used_only_where_it_pays_and_is_exact_enough(calls, monkeypatch):
    x, weight = torch.randn(1, 256, 64, 64), torch.randn(256, 256, 3, 3)
    with torch.inference_mode():
        convolution(x.double(), weight.double())
        convolution(x[:, :, :63].expand(2, -1, -1, -1), weight)
        convolution(x, weight[:64])
        convolution(x[:, :64], weight[:, :64])
        convolution(x, weight[:, :, :1, :1])
    convolution(x, weight)  # with gradients
    with torch.no_grad():
        torch.export.export(Conv2d(256, 256, 3), (x,))
    plain = []
    monkeypatch.setattr(F, "conv2d", lambda *given, **named: plain.append(1))  # takes half a minute where a processor has no bf16
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        convolution(x, weight)
    assert plain
    assert not calls


def test_a_wide_head_gives_the_scores_that_it_gives_in_float64(calls):
    torch.manual_seed(0)
    widths = (96, 192, 256, 256)
    head = UPerHead(features=widths, channels=256, bins=(1, 2, 3, 6), classes=7).eval().requires_grad_(False)
    maps = [torch.randn(1, width, 64 >> level, 90 >> level) for level, width in enumerate(widths)]
    with torch.inference_mode():
        found = head(maps)
        exact = head.double()([level.double() for level in maps])
    assert calls
    assert rounding(found, exact) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_of_one_is_a_matrix_product(bias, order):
    torch.manual_seed(0)
    conv = Conv2d(20, 30, 1, bias=bias).requires_grad_(False)
    x = torch.randn(3, 20, 7, 9).to(memory_format=order)
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double() if bias else None)
    with torch.inference_mode():
        found = conv(x)
        assert torch.equal(found[1:2], conv(x[1:2]))
    assert found.shape == exact.shape
    assert rounding(found, exact) < 1e-6
