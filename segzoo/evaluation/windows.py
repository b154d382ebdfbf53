"""From windows to pixels: crop scores upsampled, averaged where windows overlap, resized to the original size.

These steps (mmseg 1.2.2's EncoderDecoder, rstrudel's `merge_windows`) are linear and treat rows and columns apart.
Together they are one matrix for the rows and one for the columns. `axis` finds such a matrix by taking the steps
with unit vectors. `bands` applies both to the scores of all patches of all windows, a few rows of pixels at a time,
so scores at full size exist only where somebody asks for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_BAND_BYTES = {"cpu": 1 << 23}  # of scores at a time: what a CPU's cache holds
_BAND_BYTES_ELSEWHERE = 1 << 28


@dataclass(frozen=True)
class Axis:
    """One axis of an image that is seen through windows.

    `windows` are begin and end of each, in pixels of the resized image; `matrix`, (pixels at the original
    size, windows x patches), takes the scores of their patches to pixels.
    """

    windows: tuple[tuple[int, int], ...]
    matrix: Tensor


@dataclass(frozen=True)
class View:
    """An image at one size, plain or flipped, before the model: its windows, and their pixels (windows, 3, h, w)."""

    rows: Axis
    columns: Axis
    flipped: bool
    crops: Tensor


@dataclass(frozen=True)
class Scored:
    """A view after the model: the scores of all patches of all windows as one grid (rows, c, columns)."""

    rows: Axis
    columns: Axis
    flipped: bool
    grid: Tensor


def windows(length: int, crop: int, stride: int) -> tuple[tuple[int, int], ...]:
    """Begin and end of the windows along one axis; the last is pushed back inside."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return tuple((max(end - crop, 0), end) for end in ends)


@lru_cache(1024)
def axis(length: int, target: int, crop: int, stride: int, patch: int, cuts_padding: bool, device: torch.device) -> Axis:
    """The windows along an axis of `length`, and the way of their scores to `target` pixels.

    A window that is no multiple of the patch was padded. With `cuts_padding` the scores of the padding are cut
    off, as rstrudel/segmenter does; else they are squeezed into the window with the others, as mmseg does.
    """
    places = windows(length, crop, stride)
    side = places[0][1] - places[0][0]
    patches = -(-side // patch)
    grown = F.interpolate(torch.eye(patches)[None], patches * patch if cuts_padding else side, mode="linear")[0, :, :side]
    total, seen = torch.zeros(len(places), patches, length), torch.zeros(length)
    for index, (begin, end) in enumerate(places):
        total[index, :, begin:end] = grown
        seen[begin:end] += 1
    resized = F.interpolate(total / seen, target, mode="linear")
    return Axis(places, resized.flatten(0, 1).T.contiguous().to(device))


def cut(image: Tensor, rows: Axis, columns: Axis, flipped: bool = False) -> View:
    """A view of an image (3, h, w), cut into windows row by row; flipped before, if at all."""
    seen = image.flip(-1) if flipped else image
    crops = torch.stack([seen[:, top:bottom, left:right] for top, bottom in rows.windows for left, right in columns.windows])
    return View(rows, columns, flipped, crops)


def scored(view: View, scores: Tensor) -> Scored:
    """A view with the scores (windows, c, h, w) of its crops' patches."""
    grid = scores.float().unflatten(0, (len(view.rows.windows), len(view.columns.windows))).permute(0, 3, 2, 1, 4)
    return Scored(view.rows, view.columns, view.flipped, grid.reshape(grid.shape[0] * grid.shape[1], grid.shape[2], -1))


def bands(views: Sequence[Scored], soft: bool) -> Iterator[Tensor]:
    """Class scores at the original size, (rows, c, width) a band from top to bottom.

    Logits if there is one view; with `soft` the mean of all views' probabilities. Of a single class it is that of the foreground.
    """
    wide = [one.grid @ (one.columns.matrix.flip(0) if one.flipped else one.columns.matrix).T for one in views]
    height, (_, classes, width) = len(views[0].rows.matrix), wide[0].shape
    at_once = max(_BAND_BYTES.get(wide[0].device.type, _BAND_BYTES_ELSEWHERE) // (4 * classes * width), 1)
    for top in range(0, height, at_once):
        mean: Tensor | None = None
        for one, across in zip(views, wide, strict=True):
            share = one.rows.matrix[top : top + at_once]
            if share.device.type == "cpu":  # few of the patches reach a band of rows
                reached = share.any(0).nonzero()[:, 0]
                share, across = share[:, reached], across[reached]
            scores = (share @ across.flatten(1)).unflatten(1, (classes, width))
            if soft:
                scores = scores.softmax(1) if classes > 1 else scores.sigmoid()
            mean = scores if mean is None else mean.add_(scores)
        assert mean is not None  # there is a view
        yield mean.div_(len(views)) if len(views) > 1 else mean
