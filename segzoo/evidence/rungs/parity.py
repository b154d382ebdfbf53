"""Torch against JAX, intermediate by intermediate, so that a failure names the place where it begins."""

import copy
from collections.abc import Mapping

import numpy as np
import torch

from segzoo.evidence.rungs.difference import Difference
from segzoo.models.vit import reference
from segzoo.models.vit.network import VisionTransformer


def differences(model: VisionTransformer, augreg: Mapping[str, np.ndarray], image: np.ndarray, eps: float) -> list[Difference]:
    """Every intermediate in float64, then in float32, GELU erf on both sides. `image` is (b, H, W, 3), normalised."""
    found = []
    for dtype in (np.float64, np.float32):
        ours = torch_intermediates(model, image, dtype)
        theirs = reference.forward(augreg, image, eps=eps, gelu="erf", dtype=dtype)
        found += [Difference(name, np.dtype(dtype).name, _relative(ours[name], theirs[name])) for name in ours]
    return found


def gelu_drift(augreg: Mapping[str, np.ndarray], image: np.ndarray, eps: float) -> float:
    """How far flax's tanh GELU moves the tokens from the exact one that torch models use; relative."""
    exact, tanh = (reference.forward(augreg, image, eps=eps, gelu=gelu, dtype=np.float32)["final_norm"] for gelu in ("erf", "tanh"))
    return _relative(tanh, exact)


def probe(side: int, seed: int = 0) -> np.ndarray:
    """One seeded image (1, side, side, 3) in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (1, side, side, 3))


def torch_intermediates(model: VisionTransformer, image: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
    """The torch backbone's named intermediates, (b, n, d) each, computed in `dtype` on the CPU."""
    kind = torch.float64 if dtype is np.float64 else torch.float32
    seen: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        copy.deepcopy(model).to("cpu", kind).tokens(torch.from_numpy(image).to(kind).permute(0, 3, 1, 2), seen)
    return {name: value.numpy() for name, value in seen.items()}


def _relative(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(mine - theirs).max() / max(1.0, float(np.abs(theirs).max())))
