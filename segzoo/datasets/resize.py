"""Resizing an 8-bit image exactly as OpenCV's INTER_LINEAR does.

OpenCV interpolates 8-bit images in 11-bit fixed point (`resize.cpp`, HResizeLinear and
VResizeLinear<uchar, int, short>), so no floating-point resize gives the same bytes. Halving both
sides exactly is an average of four there. The output sizes are mmcv's `rescale_size`.
"""

import numpy as np

_ONE = 2048  # 1.0 in 11-bit fixed point


def rescaled(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that fits into `scale` (long and short edge, in either order), keeping the ratio."""
    height, width = size
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (h, w, 3) uint8 at `size` (height, width), bit for bit as `cv2.resize(..., INTER_LINEAR)`."""
    if image.shape[:2] == size:
        return image
    wide = image.astype(np.int32)
    if image.shape[0] == 2 * size[0] and image.shape[1] == 2 * size[1]:
        quads = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
        return ((quads + 2) >> 2).astype(np.uint8)
    left, left_weight, right_weight = _taps(image.shape[1], size[1])
    outside = (left < 0) | (left >= image.shape[1] - 1)  # columns beyond the edge lose their fraction; rows keep it
    left_weight[outside], right_weight[outside] = _ONE, 0
    columns = np.stack([left, left + 1]).clip(0, image.shape[1] - 1)
    rows = wide[:, columns[0]] * left_weight[:, None] + wide[:, columns[1]] * right_weight[:, None]
    top, top_weight, bottom_weight = _taps(image.shape[0], size[0])
    top, bottom = np.stack([top, top + 1]).clip(0, image.shape[0] - 1)
    upper = (top_weight[:, None, None] * (rows[top] >> 4)) >> 16
    lower = (bottom_weight[:, None, None] * (rows[bottom] >> 4)) >> 16
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each target pixel the first of its two source pixels, and both weights in fixed point."""
    scale = 1 / (target / source)  # in this order, as OpenCV rounds it
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first.astype(np.float32)
    second_weight = np.rint(fraction * np.float32(_ONE)).astype(np.int32)
    first_weight = np.rint((np.float32(1) - fraction) * np.float32(_ONE)).astype(np.int32)
    return first, first_weight, second_weight
