"""A data set through a model, to pixel counts: the test protocols of MMSegmentation and of rstrudel/segmenter.

Modes: `ss`, single scale; `ms+flip`, as MMSegmentation 0.x and rstrudel/segmenter measured their published
figures (the image at six sizes of the protocol's scale, plain and flipped); `ms+flip-1.x`, as 1.x's
`tta_pipeline` does it (six sizes of the raw image: another protocol with other figures); `whole`, the image
in one piece instead of windows.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.datasets.decode import read_image, read_pair
from segzoo.datasets.sample import IGNORED, Sample
from segzoo.errors import EnvironmentFault
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.counts import Counts
from segzoo.evaluation.precision import arithmetic, dtype_of
from segzoo.evaluation.protocols import RATIOS, sizes
from segzoo.evaluation.resize import resize
from segzoo.evaluation.windows import Axis, View, axis, bands, crops, view
from segzoo.manifest.entries import Protocol

# The difference between two best scores below which another order of additions may pick the other class.
MARGIN = 2e-5
# The same where the network rounds more. On the minis such a choice differed by up to 0.03 in bf16 and 0.003 in fp16.
_MARGINS = {"bf16": 0.1, "fp16": 0.02, "tf32": 0.02}

# Views of images that go together, so that a device is kept busy; a processor's cache would rather have one image's.
_TOGETHER = {"cpu": 1}
_TOGETHER_ELSEWHERE = 16
# Tokens that go through the model at once: some 60 windows of 512 px with patches of 16.
_TOKENS = {"cpu": 2048}
_TOKENS_ELSEWHERE = 65536


@dataclass(frozen=True)
class Look:
    """One view of an image before the model: where its windows are, and their pixels (windows, 3, h, w)."""

    rows: Axis
    columns: Axis
    flipped: bool
    crops: Tensor


@dataclass
class Evaluator:
    """A model on a device, ready to score images by a protocol.

    `precision` is what the network computes in; resizing, averaging and counting do not depend on it. Out of
    memory, it halves how many windows go at once, and says so once each time.
    """

    model: nn.Module
    protocol: Protocol
    classes: int
    device: torch.device
    precision: str = "fp32"
    warn: Callable[[str], None] = lambda message: None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dtype = dtype_of(self.precision, self.device)
        try:
            self.model = self.model.to(self.device, self.dtype)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise EnvironmentFault(f"out of memory: the model does not fit on {self.device}", hint="--device cpu, or another GPU") from error
        self.patch: int = self.model.stride  # type: ignore[assignment]
        self.tokens = _TOKENS.get(self.device.type, _TOKENS_ELSEWHERE)
        self.mean, self.std = (torch.tensor(value, device=self.device) for value in (self.protocol.mean, self.protocol.std))
        self.together = _TOGETHER.get(self.device.type, _TOGETHER_ELSEWHERE)

    # what an image looks like to the model

    def looks(self, image: np.ndarray, mode: str) -> list[Look]:
        """All views of an RGB image uint8 (h, w, 3), in the order in which their probabilities are added.

        Raises EnvironmentFault for one so thin that nothing of it is left at a size of the protocol.
        """
        pixels = _sent(image, self.device)
        size = image.shape[0], image.shape[1]
        found = []
        for sized in sizes(size, self.protocol.scale, mode):
            if 0 in sized:
                raise EnvironmentFault(f"too thin: {size[1]}x{size[0]} pixels would be resized to {sized[1]}x{sized[0]}", hint="leave it out")
            plain = self._normalised(resize(pixels, sized))
            rows, columns = (self._axis(plain.shape[side], size[side - 1], mode) for side in (1, 2))
            found.append(Look(rows, columns, False, crops(plain, rows, columns)))
            if mode.startswith("ms+flip"):
                found.append(Look(rows, columns, True, crops(plain.flip(-1), rows, columns)))
        return found

    def _looks(self, sample: Sample, image: np.ndarray, mode: str) -> list[Look]:
        try:
            return self.looks(image, mode)
        except EnvironmentFault as error:
            raise EnvironmentFault(f"{sample.image}: {error.message}", error.hint) from error

    def _normalised(self, image: Tensor) -> Tensor:
        plain = (image.float() - self.mean).div_(self.std).permute(2, 0, 1)
        height, width = plain.shape[1:]
        crop = self.protocol.crop
        if self.protocol.by == "rstrudel" and min(height, width) < crop:  # enlarged until a window fits
            ratio = max(height, width) / min(height, width)
            larger = (int(crop), int(ratio * crop)) if height < width else (int(ratio * crop), int(crop))
            plain = F.interpolate(plain[None], larger, mode="bilinear", align_corners=False)[0]
        return plain

    def _axis(self, length: int, target: int, mode: str) -> Axis:
        crop, stride = (length, length) if mode == "whole" else (self.protocol.crop, self.protocol.stride)
        return axis(length, target, crop, stride, self.patch, self.protocol.by == "rstrudel", self.device)

    # the model

    def _patch_scores(self, pixels: Tensor) -> Tensor:
        """The model's scores for crops of one shape, as many at once as fit."""
        each = -(-pixels.shape[-2] // self.patch) * -(-pixels.shape[-1] // self.patch)
        parts: list[Tensor] = []
        done = 0
        while done < len(pixels):
            count = max(self.tokens // each, 1)
            try:
                with arithmetic(self.precision):
                    parts.append(self.model.scores(pixels[done : done + count].to(self.dtype)))  # type: ignore[operator]
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if count == 1:
                    raise EnvironmentFault(
                        f"out of memory with a single window on {self.device}", hint="--device cpu, or --precision bf16 where the GPU has it"
                    ) from error
                self.tokens = min(count, len(pixels) - done) // 2 * each or each
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                note = f"out of memory: on with {max(self.tokens // each, 1)} windows at once"
                self.notes.append(note)
                self.warn(note)
            else:
                done += count
        return torch.cat(parts)

    def views(self, images: Sequence[list[Look]]) -> list[list[View]]:
        """The model's scores for the looks of some images; crops of one shape go through it together."""
        shapes: dict[torch.Size, list[tuple[int, int]]] = {}
        for image, looks in enumerate(images):
            for place, look in enumerate(looks):
                shapes.setdefault(look.crops.shape[1:], []).append((image, place))
        done: dict[tuple[int, int], View] = {}
        for places in shapes.values():
            chosen = [images[image][place] for image, place in places]
            scores = self._patch_scores(torch.cat([look.crops for look in chosen]))
            for key, look, part in zip(places, chosen, scores.split([len(look.crops) for look in chosen]), strict=True):
                done[key] = view(part, look.rows, look.columns, look.flipped)
        return [[done[image, place] for place in range(len(looks))] for image, looks in enumerate(images)]

    def bands(self, views: Sequence[View]) -> Iterator[Tensor]:
        """Scores at the original size, band by band: logits, or with several views mean probabilities."""
        return bands(views, soft=len(views) > 1 or self.protocol.by == "rstrudel")

    def scores(self, image: np.ndarray, mode: str = "ss") -> Tensor:
        """Class scores (c, h, w) at the size of an RGB image uint8 (h, w, 3)."""
        with torch.inference_mode(), arithmetic("fp32"):
            return torch.cat(list(self.bands(self.views([self.looks(image, mode)])[0]))).transpose(0, 1)

    def labels(self, views: Sequence[View]) -> Tensor:
        """The best class of each pixel, int64 (h, w); of equal ones the first."""
        return torch.cat([band.max(1).indices for band in self.bands(views)])

    def label_map(self, image: np.ndarray, mode: str = "ss") -> np.ndarray:
        """The class of each pixel of an RGB image uint8 (h, w, 3), as uint8 (h, w)."""
        with torch.inference_mode(), arithmetic("fp32"):
            return self.labels(self.views([self.looks(image, mode)])[0]).to(torch.uint8).cpu().numpy()

    # a data set

    def evaluate(self, chosen: Sequence[Sample], mode: str = "ss", shard: tuple[int, int] = (0, 1)) -> Iterator[tuple[Sample, np.ndarray]]:
        """The confusion of each image, int64 (classes + 1, classes), as it is done; see `confusion`.

        Images go together in groups that depend on nothing but `chosen` and the device, and `shard` (rank, of)
        takes whole groups: a group's counts are the same whoever computes them. Raises EnvironmentFault for an
        image or label that cannot be used.
        """
        together = max(self.together // (2 * len(RATIOS) if mode.startswith("ms+flip") else 1), 1)
        groups = [chosen[start : start + together] for start in range(0, len(chosen), together)][shard[0] :: shard[1]]
        pairs = _ahead(lambda sample: read_pair(sample, self.classes), [sample for group in groups for sample in group])
        for group in groups:
            decoded = [next(pairs) for _ in group]
            try:
                with torch.inference_mode(), arithmetic("fp32"):
                    labels = [_sent(label, self.device) for _, label in decoded]  # early: a copy in between would wait for the network
                    views = self.views([self._looks(sample, image, mode) for sample, (image, _) in zip(group, decoded, strict=True)])
                    found = [confusion(self.labels(seen), label, self.classes) for seen, label in zip(views, labels, strict=True)]
                    counted = torch.stack(found).cpu().numpy()
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                largest = max(image.shape[:2] for image, _ in decoded)
                raise EnvironmentFault(f"out of memory on {self.device} with images of {largest[1]}x{largest[0]}", hint="--device cpu") from error
            yield from zip(group, counted, strict=True)

    def explained(self, sample: Sample, found: Counts, expected: Counts, mode: str = "ss") -> tuple[bool, int]:
        """Whether close calls alone can account for these counts being unequal; and how many close calls there are.

        A close call is a pixel whose two best scores differ by less than MARGIN, or more in a lower precision, where
        even another number of windows at once rounds otherwise. Each that goes to another
        class changes each kind of count by at most two in sum.
        """
        image, label = read_pair(sample, self.classes)
        best = self.scores(image, mode).topk(2, dim=0).values.cpu()
        margin = _MARGINS.get(self.precision, MARGIN)
        close = int(((best[0] - best[1] < margin).numpy() & (label != IGNORED)).sum())
        changed = [int(np.abs(mine - theirs).sum()) for mine, theirs in zip(found.arrays, expected.arrays, strict=True)]
        return changed[2] == 0 and max(changed) <= 2 * close, close

    def agreement(self, reference: "Evaluator", chosen: Sequence[Sample], mode: str) -> dict[str, Any]:
        """The share of pixels to which this evaluator and another give the same class."""
        same = pixels = 0
        for sample in chosen:
            image = read_image(sample.image)
            mine, theirs = (one.scores(image, mode).argmax(0).cpu() for one in (self, reference))
            same, pixels = same + int((mine == theirs).sum()), pixels + mine.numel()
        return {"images": len(chosen), "pixels_percent": round(100 * same / pixels, 4)}


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own for it; Apple's GPUs and processors say it in words only."""
    words = ("MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error) for one in words)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array on a device; to NVIDIA's GPUs from pinned memory, so that neither side waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _ahead(read: Callable[[Sample], Any], chosen: Sequence[Sample]) -> Iterator[Any]:
    """What `read` gives for each, in order, read by threads some way ahead."""
    workers = min(os.cpu_count() or 1, 16)
    with ThreadPoolExecutor(workers, "decode") as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for sample in chosen:
                waiting.append(pool.submit(read, sample))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
