"""From windows to pixels: crop scores upsampled, averaged where windows overlap, resized to the original size.

These steps (mmseg 1.2.2's EncoderDecoder, rstrudel's `merge_windows`) are linear and treat rows and columns apart.
Together they are one matrix for the rows and one for the columns. `matrix` finds it by taking the steps
with unit vectors. `bands` applies both to the scores of all patches of all windows, a few rows of pixels at a time,
so scores at full size exist only where somebody asks for them. Windows are cut when the model takes them, so no image
exists in floating point as a whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_BAND_BYTES = {"cpu": 1 << 23}  # of scores at a time: what a CPU's cache holds
_BAND_BYTES_ELSEWHERE = 1 << 28
_WIDE_BYTES = 1 << 26  # of patch rows at full width


@dataclass(frozen=True)
class Axis:
    """One axis of an image that is seen through windows.

    `length` are its pixels when resized, `target` those at its original size. `padded` is the multiple to which a window is padded, where
    the scores of the padding are cut off, as rstrudel/segmenter does, and mmseg where images are padded before the model; None where they are
    squeezed into the window with the others, as mmseg does with what a model pads itself.
    """

    length: int
    target: int
    crop: int
    stride: int
    padded: int | None = None

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """Begin and end of each window, in pixels of the resized image."""
        return windows(self.length, self.crop, self.stride)

    @property
    def side(self) -> int:
        """The pixels of a window."""
        begin, end = self.windows[0]
        return end - begin

    @property
    def whole(self) -> int:
        """The pixels of a window with the padding whose scores are cut off."""
        return -(-self.side // self.padded) * self.padded if self.padded else self.side

    @property
    def overlaps(self) -> Tensor:
        """How many windows each pixel of the resized image is in."""
        seen = torch.zeros(self.length)
        for begin, end in self.windows:
            seen[begin:end] += 1
        return seen


@dataclass(frozen=True)
class View:
    """An image at one size, plain or flipped, before the model.

    `pixels` are those of the resized image (h, w, 3), not flipped; `look` makes of some windows of them, (windows, h, w, 3),
    what the model takes: float32 (windows, 3, h, w).
    """

    rows: Axis
    columns: Axis
    flipped: bool
    pixels: Tensor
    look: Callable[[Tensor], Tensor]

    @property
    def windows(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Begin and end of each window's rows and columns, row by row."""
        return [(rows, columns) for rows in self.rows.windows for columns in self.columns.windows]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a window."""
        return self.rows.side, self.columns.side

    def crop(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """The pixels of a window."""
        if not self.flipped:
            return self.pixels[slice(*rows), slice(*columns)]
        width = self.pixels.shape[1]
        return self.pixels[slice(*rows), width - columns[1] : width - columns[0]].flip(1)


@dataclass(frozen=True)
class Scored:
    """A view after the model: the scores of all patches of all windows as one grid (rows, c, columns).

    `rows` and `columns` are the matrices (pixels at the original size, windows x patches) that take it to pixels.
    """

    rows: Tensor
    columns: Tensor
    flipped: bool
    grid: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image at its original size."""
        return len(self.rows), len(self.columns)

    @property
    def device(self) -> torch.device:
        return self.grid.device

    def wide(self) -> "_Wide":
        return _Wide(self)


def windows(length: int, crop: int, stride: int) -> tuple[tuple[int, int], ...]:
    """Begin and end of the windows along one axis; the last is pushed back inside."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return tuple((max(end - crop, 0), end) for end in ends)


def grown(axis: Axis, patches: int) -> Tensor:
    """The way of a window's scores along an axis to its pixels: (patches, pixels of a window)."""
    return F.interpolate(torch.eye(patches)[None], axis.whole, mode="linear")[0, :, : axis.side]


@lru_cache(1024)
def matrix(axis: Axis, patches: int, device: torch.device) -> Tensor:
    """The way of the scores along an axis, so many a window, to pixels: (pixels at the original size, windows x patches)."""
    places, window = axis.windows, grown(axis, patches)
    total = torch.zeros(len(places), patches, axis.length)
    for index, (begin, end) in enumerate(places):
        total[index, :, begin:end] = window
    resized = F.interpolate(total / axis.overlaps, axis.target, mode="linear")
    return resized.flatten(0, 1).T.contiguous().to(device)


def scored(view: View, scores: Tensor) -> Scored:
    """A view with the scores (windows, c, h, w) of its windows' patches."""
    grid = scores.float().unflatten(0, (len(view.rows.windows), len(view.columns.windows))).permute(0, 3, 2, 1, 4)
    rows, columns = (matrix(axis, patches, scores.device) for axis, patches in zip((view.rows, view.columns), scores.shape[-2:], strict=True))
    return Scored(rows, columns, view.flipped, grid.reshape(grid.shape[0] * grid.shape[1], grid.shape[2], -1))


class Wide(Protocol):
    """A view's scores, some rows of pixels at a time. `channels` are those of the largest map on the way."""

    channels: int

    def scores(self, top: int, bottom: int) -> Tensor:
        """The scores (rows, c, width) of these rows of pixels at the original size."""
        ...


class Seen(Protocol):
    """A view after the model."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image at its original size."""
        ...

    @property
    def device(self) -> torch.device: ...

    def wide(self) -> Wide: ...


def bands(views: Sequence[Seen], soft: bool) -> Iterator[Tensor]:
    """Class scores at the original size, (rows, c, width) a band from top to bottom.

    Those of the model if there is one view; with `soft` the mean of all views' probabilities. Of a single class it is that of the foreground.
    """
    wide = [one.wide() for one in views]
    height, width = views[0].size
    channels = max(one.channels for one in wide)
    at_once = max(_BAND_BYTES.get(views[0].device.type, _BAND_BYTES_ELSEWHERE) // (4 * channels * width), 1)
    for top in range(0, height, at_once):
        mean: Tensor | None = None
        for one in wide:
            scores = one.scores(top, min(top + at_once, height))
            if soft:
                scores = scores.softmax(1) if scores.shape[1] > 1 else scores.sigmoid()
            mean = scores if mean is None else mean.add_(scores)
        assert mean is not None  # there is a view
        yield mean.div_(len(views)) if len(views) > 1 else mean


class _Wide:
    """A view's scores at full width, by patch rows. A small view gives all its rows at once, a large one only those that a band needs."""

    def __init__(self, view: Scored):
        self.grid, self.shares, self.channels = view.grid, view.rows, view.grid.shape[1]
        self.matrix = (view.columns.flip(0) if view.flipped else view.columns).T
        whole = 4 * self.grid.shape[0] * self.grid.shape[1] * self.matrix.shape[1] <= _WIDE_BYTES
        self.all = self.grid @ self.matrix if whole or self.grid.device.type != "cpu" else None
        self.rows: list[int] = []
        self.held = self.grid[:0] @ self.matrix

    def scores(self, top: int, bottom: int) -> Tensor:
        share = self.shares[top:bottom]
        reached: Sequence[int] = range(share.shape[1])
        if share.device.type == "cpu":  # few of the patches reach a band of rows
            reached = share.any(0).nonzero()[:, 0].tolist()
            share = share[:, reached]
        return (share @ self.of(reached).flatten(1)).unflatten(1, (self.channels, -1))

    def of(self, reached: Sequence[int]) -> Tensor:
        """The scores (rows, c, width) of these patch rows. Rows of the last call are not computed again."""
        if self.all is not None:
            return self.all if len(reached) == len(self.all) else self.all[reached]
        if reached != self.rows:
            kept = [row for row in self.rows if row in set(reached)]
            fresh = [row for row in reached if row not in set(kept)]
            self.held = self.held[[self.rows.index(row) for row in kept]]  # before the fresh ones are there: this is most of the memory
            self.held = torch.cat([self.held, self.grid[fresh] @ self.matrix])
            self.held = self.held[[(kept + fresh).index(row) for row in reached]]
            self.rows = list(reached)
        return self.held
