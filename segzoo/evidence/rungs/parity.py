"""How far torch and a reference are apart, intermediate by intermediate, so that a failure names the place where it begins."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from segzoo.evidence.rungs.difference import Difference

Intermediates = Callable[..., Mapping[str, np.ndarray]]


def differences(model: nn.Module, reference: Intermediates, tensors: Mapping[str, np.ndarray], image: np.ndarray, eps: float) -> list[Difference]:
    """The difference of every intermediate, in float64 and then in float32. `image` is (b, H, W, 3), normalised."""
    found = []
    for dtype in (np.float64, np.float32):
        ours = torch_intermediates(model, image, dtype)
        theirs = reference(tensors, image, eps=eps, dtype=dtype)
        found += [Difference(name, np.dtype(dtype).name, _relative(ours[name], theirs[name])) for name in ours]
    return found


def probe(image: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """One seeded image (1, height, width, channels) in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (1, *image))


def torch_intermediates(model: nn.Module, image: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
    """The torch backbone's named intermediates, computed in `dtype` on the CPU."""
    kind = torch.float64 if dtype is np.float64 else torch.float32
    seen: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        copy.deepcopy(model).to("cpu", kind)(torch.from_numpy(image).to(kind).permute(0, 3, 1, 2), seen)
    return {name: value.numpy() for name, value in seen.items()}


def _relative(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(mine - theirs).max() / max(1.0, float(np.abs(theirs).max())))
