"""Sliding-window inference as mmseg 1.2.2's EncoderDecoder does it: overlapping logits are averaged."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def windows(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    """Begin and end of the windows along one axis; the last is pushed back inside."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return [(max(end - crop, 0), end) for end in ends]


def slide(model: Callable[[Tensor], Tensor], image: Tensor, crop: int, stride: int) -> Tensor:
    """Scores (1, c, H, W) of one normalised image (1, 3, H, W). An image smaller than the crop is one window."""
    height, width = image.shape[-2:]
    places = [(rows, columns) for rows in windows(height, crop, stride) for columns in windows(width, crop, stride)]
    scores: Tensor | None = None
    seen = image.new_zeros(1, 1, height, width)
    for (top, bottom), (left, right) in places:
        part = model(image[..., top:bottom, left:right])
        if scores is None:
            scores = image.new_zeros(1, part.shape[1], height, width)
        scores[..., top:bottom, left:right] += part
        seen[..., top:bottom, left:right] += 1
    assert scores is not None  # there is always one window
    return scores / seen


def segment(model: Callable[[Tensor], Tensor], image: Tensor, size: tuple[int, int], crop: int, stride: int, whole: bool = False) -> Tensor:
    """Scores (c, h, w) at the original size (h, w) of an image that was resized before; `whole` sees it in one piece."""
    with torch.inference_mode():
        scores = model(image) if whole else slide(model, image, crop, stride)
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[0]


def close_calls(scores: Tensor, margin: float) -> Tensor:
    """Where the two best classes differ by less than `margin`: there, rounding may decide. (h, w) bool."""
    best = scores.topk(2, dim=0).values
    return best[0] - best[1] < margin
