"""Pictures that are drawn smaller, so that a huge one needs little memory and can be looked at.

A drawing keeps the picture's size while it is small, or while its sheet (panels and legend) takes less than the picture itself.
Label maps are never reduced.
"""

from math import ceil, sqrt

import numpy as np

from segzoo.publishing.legend import width_of

_SMALL, _LARGE = 3_000_000, 24_000_000  # pixels of a sheet
_SHARE = 0.75  # of the picture's pixels
_ROWS = 1 << 20  # pixels that are computed at a time


def reduction(size: tuple[int, int], panels: int) -> int:
    """The k by which the sides of a picture (height, width) are divided, to be drawn in so many panels beside a legend."""
    height, width = size
    sheet = height * (panels * width + width_of(height, width))
    budget = min(max(_SHARE * height * width, _SMALL), _LARGE)
    return min(max(ceil(sqrt(sheet / budget)), 1), height, width)


def reduced(image: np.ndarray, k: int) -> np.ndarray:
    """An image uint8 (h, w, 3) with each k x k pixels averaged. Rows and columns beyond a multiple of k are left out."""
    if k == 1:
        return image
    height, width = image.shape[0] // k, image.shape[1] // k
    found = np.empty((height, width, image.shape[2]), np.uint8)
    for rows in bands(height, width * k):
        part = image[rows.start * k : rows.stop * k]
        total = sum(part[down::k, right : width * k : k].astype(np.uint32) for down in range(k) for right in range(k))
        found[rows] = (total + k * k // 2) // (k * k)
    return found


def bands(height: int, width: int) -> list[slice]:
    """The rows of a picture in runs, each of few pixels."""
    step = max(_ROWS // max(width, 1), 1)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def reduced_labels(labels: np.ndarray, k: int) -> np.ndarray:
    """A label map (h, w) with the class in the middle of each k x k pixels."""
    return labels[k // 2 : labels.shape[0] // k * k : k, k // 2 : labels.shape[1] // k * k : k]
