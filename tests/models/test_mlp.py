"""The MLP of a block, as a whole and some tokens at a time."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segzoo.models import mlp as module
from segzoo.models.mlp import gelu, mlp


def layers(width, hidden, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Linear(width, hidden, dtype=dtype).requires_grad_(False), nn.Linear(hidden, width, dtype=dtype).requires_grad_(False)


@pytest.mark.parametrize("size", [(1, 5), (2, 2047), (2, 2048), (1, 2049), (3, 40, 60), (1, 1, 5000)])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_it_is_two_layers_and_an_activation_at_every_size(size, approximate):
    expand, contract = layers(6, 24, torch.float64)
    x = torch.randn(*size, 6, dtype=torch.float64)
    plain = contract(F.gelu(expand(x), approximate=approximate))
    with torch.inference_mode():
        found = mlp(x, expand, contract, partial(gelu, approximate=approximate))
    assert found.shape == plain.shape
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-13)


def test_what_is_large_goes_some_tokens_at_a_time_and_an_image_is_the_same_in_a_batch(monkeypatch):
    monkeypatch.setattr(module, "_HIDDEN", 1)
    expand, contract = layers(6, 24)
    seen = []
    expand.register_forward_hook(lambda layer, given, found: seen.append(len(found)))
    x = torch.randn(2, 3000, 6)
    with torch.inference_mode():
        both = mlp(x, expand, contract)
        assert seen == [1024, 1024, 952] * 2
        assert torch.equal(both[1:], mlp(x[1:], expand, contract))


def test_with_gradients_nothing_is_overwritten():
    expand, contract = layers(6, 24)
    x = torch.randn(1, 4000, 6, requires_grad=True)
    before = x.detach().clone()
    mlp(x, expand, contract).sum().backward()
    hidden = torch.randn(4, 4)
    kept = hidden.clone()
    gelu(hidden)
    assert torch.equal(x, before)
    assert torch.equal(hidden, kept)
    assert float(x.grad.abs().sum()) > 0


def test_under_autocast_the_sum_with_a_block_is_the_same():
    expand, contract = layers(6, 24)
    x = torch.randn(1, 4000, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(x + mlp(x, expand, contract), x + contract(F.gelu(expand(x))))
