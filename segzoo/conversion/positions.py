"""How position embeddings are resampled for another grid, in each of the four ways that published code has.

The four differ by up to 3e-2 on a 24 x 24 table enlarged to 32 x 32, so none is applied unasked. Each is one
matrix for the rows and one for the columns, in float64.
"""

from collections.abc import Callable

import numpy as np

METHODS = {
    "mmseg": "bicubic, half-pixel centres, as MMSegmentation and transformers",
    "timm": "bilinear, half-pixel centres, as timm's npz loader and rstrudel/segmenter",
    "jax": "bilinear, corners aligned, as vit_jax",
    "antialias": "bicubic with antialiasing, as timm does to a state dict",
}


def resampled(table: np.ndarray, source: tuple[int, int], target: tuple[int, int], method: str) -> np.ndarray:
    """The table (1, h w, d) of `source` = (h, w) positions, resampled to `target` = (h, w) positions, in the same dtype."""
    grid = table.reshape(*source, table.shape[-1]).astype(np.float64)
    rows, columns = (matrix(n, m, method) for n, m in zip(source, target, strict=True))
    out = np.einsum("yh,hwd,xw->yxd", rows, grid, columns, optimize=True)
    return out.reshape(1, -1, table.shape[-1]).astype(table.dtype)


def matrix(source: int, target: int, method: str) -> np.ndarray:
    """The matrix (target, source) that turns a line of `source` values into a line of `target` values. Each row adds up to one."""
    if method == "jax":
        centres = np.arange(target) * ((source - 1) / (target - 1) if target > 1 else 0.0)
        return _taps(centres, source, _triangle, 1)
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    if method == "timm":
        return _taps(np.maximum(centres, 0.0), source, _triangle, 1)
    if method == "mmseg":
        return _taps(centres, source, lambda x: _cubic(x, -0.75), 2)
    wide = max(source / target, 1.0)  # antialiasing: when the grid shrinks, the kernel grows
    distance = (np.arange(source) - centres[:, None]) / wide
    weights = np.where(np.abs(distance) < 2, _cubic(distance, -0.5), 0.0)
    return weights / weights.sum(1, keepdims=True)


def _taps(centres: np.ndarray, source: int, kernel: Callable[[np.ndarray], np.ndarray], reach: int) -> np.ndarray:
    """The matrix of a kernel that reaches `reach` samples to either side. A sample beyond the edge is the sample at the edge."""
    weights = np.zeros((len(centres), source))
    first = np.floor(centres).astype(int)
    for offset in range(1 - reach, reach + 1):
        at = first + offset
        np.add.at(weights, (np.arange(len(centres)), np.clip(at, 0, source - 1)), kernel(centres - at))
    return weights


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
