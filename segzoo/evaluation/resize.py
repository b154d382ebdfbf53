"""Resizing an 8-bit image exactly as OpenCV's INTER_LINEAR does, on any device.

OpenCV interpolates 8-bit images in 11-bit fixed point (`resize.cpp`, HResizeLinear and
VResizeLinear<uchar, int, short>), so no floating-point resize gives the same bytes. Where both sides
are halved exactly, OpenCV takes the average of four pixels. The output sizes are mmcv's `rescale_size`.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_ONE = 2048  # 1.0 in 11-bit fixed point
_BAND = {"cpu": 1 << 20}  # numbers of 32 bits at a time; elsewhere an image goes in one piece


def rescaled(size: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """The (height, width) that fits into `scale` (long and short edge, in either order), keeping the ratio."""
    height, width = size
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image (h, w, 3) uint8 at `size` (height, width), bit for bit as `cv2.resize(..., INTER_LINEAR)`."""
    height, width, channels = image.shape
    if (height, width) == size:
        return image
    at_once = max(_BAND.get(image.device.type, 1 << 62) // (max(width, size[1]) * channels), 1)
    found = torch.empty(*size, channels, dtype=torch.uint8, device=image.device)
    halved = (height, width) == (2 * size[0], 2 * size[1])
    for begin in range(0, size[0], at_once):
        end = min(begin + at_once, size[0])
        found[begin:end] = _averaged(image[2 * begin : 2 * end]) if halved else _interpolated(image, size, begin, end)
    return found


def _averaged(image: Tensor) -> Tensor:
    """An image at half its size."""
    wide = image.int()
    return (wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2] + 2) >> 2


def _interpolated(image: Tensor, size: tuple[int, int], begin: int, end: int) -> Tensor:
    """The rows from `begin` to `end` of an image at `size`."""
    (left, right), (left_weight, right_weight) = _taps(image.shape[1], size[1], True, image.device)
    sources, (top, bottom), (top_weight, bottom_weight) = _rows(image.shape[0], size[0], begin, end, image.device)
    wide = image[sources].int()
    rows = (wide[:, left] * left_weight[:, None] + wide[:, right] * right_weight[:, None]) >> 4
    upper = (top_weight[:, None, None] * rows[top]) >> 16
    lower = (bottom_weight[:, None, None] * rows[bottom]) >> 16
    return ((upper + lower + 2) >> 2).clamp_(0, 255)


@lru_cache(4096)
def _rows(source: int, target: int, begin: int, end: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The source rows that some target rows need, int64; for each target row its two among them, and their weights."""
    taps, weights = _taps(source, target, False, torch.device("cpu"))
    needed, places = torch.unique(taps[:, begin:end], return_inverse=True)
    return needed.to(device), places.to(device), weights[:, begin:end].to(device)


@lru_cache(1024)
def _taps(source: int, target: int, columns: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each target pixel its two source pixels, (2, target) int64, and their weights in fixed point, int32."""
    scale = 1 / (target / source)  # in this order, as OpenCV rounds it
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first.astype(np.float32)
    weights = np.rint(np.stack([np.float32(1) - fraction, fraction]) * np.float32(_ONE)).astype(np.int32)
    if columns:  # columns beyond the edge lose their fraction; rows keep it
        weights[:, (first < 0) | (first >= source - 1)] = [[_ONE], [0]]
    taps = np.stack([first, first + 1]).clip(0, source - 1).astype(np.int64)
    return torch.from_numpy(taps).to(device), torch.from_numpy(weights).to(device)
