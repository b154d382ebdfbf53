"""Pixels by label and prediction."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from segzoo.datasets.sample import ignored


def confusion(pred: Tensor, label: np.ndarray | Tensor, classes: int) -> Tensor:
    """Pixels by label (row) and prediction (column), int64 (classes + 1, classes), on the device of `pred`.

    Labels with the value `ignored(classes)` are not counted. The last row counts labels beyond the classes: pixels of no
    class, but not ignored either.
    """
    place = _rows(classes, pred.device)[torch.as_tensor(label, device=pred.device).long()].add_(pred)
    counts = torch.zeros((classes + 2) * classes, dtype=torch.int64, device=pred.device)
    counts.scatter_add_(0, place.flatten(), torch.ones_like(place).flatten())
    return counts.view(classes + 2, classes)[:-1]


@lru_cache(16)
def _rows(classes: int, device: torch.device) -> Tensor:
    """Where the row of each label value begins, int64. Ignored pixels have a row of their own after the others."""
    row = torch.arange(ignored(classes) + 1).clamp_(max=classes)
    row[ignored(classes)] = classes + 1
    return (row * classes).to(device)
