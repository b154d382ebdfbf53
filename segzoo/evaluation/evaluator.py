"""A data set through a model, to pixel counts. How a program looks at an image is in `protocols`."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segzoo.datasets.decode import read_pair
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault
from segzoo.evaluation import protocols
from segzoo.evaluation.confusion import confusion
from segzoo.evaluation.masked import Masked
from segzoo.evaluation.precision import arithmetic, dtype_of
from segzoo.evaluation.windows import Seen, View, bands, scored
from segzoo.manifest.entries import THRESHOLD, Protocol
from segzoo.models.masks import Masks

# Views that go through the steps together, so that a device is kept busy. A processor's cache would rather have one image's.
_TOGETHER = {"cpu": 1}
_TOGETHER_ELSEWHERE = 16
# Tokens that go through the model at once: some 60 windows of 512 px with patches of 16.
_TOKENS = {"cpu": 2048}
_TOKENS_ELSEWHERE = 65536


@dataclass
class Evaluator:
    """A model on a device, ready to score images by a protocol.

    `precision` is what the network computes in; resizing, averaging and counting do not depend on it. When memory
    runs out, the evaluator halves the number of windows that go at once, and tells `warn` each time.
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
        self.channels: int = getattr(self.model, "channels", 3)
        self.protocol = protocols.of_channels(self.protocol, self.channels)
        self.binary: bool = getattr(self.model, "outputs", self.classes) == 1
        self.threshold = self.protocol.threshold or THRESHOLD
        self.tokens = _TOKENS.get(self.device.type, _TOKENS_ELSEWHERE)
        self.together = _TOGETHER.get(self.device.type, _TOGETHER_ELSEWHERE)

    # an image

    def views(self, image: np.ndarray, mode: str) -> list[View]:
        """What the model sees of an image uint8 (h, w, channels), mostly RGB. Raises EnvironmentFault for one that is too thin or has other
        channels, UsageError for a mode.
        """
        if image.shape[2] != self.channels:
            raise EnvironmentFault(f"the image has {image.shape[2]} channels, and the model takes {self.channels}")
        protocols.refuse_mode(mode, 1 if self.binary else self.classes)
        return protocols.views(_sent(image, self.device), self.protocol, mode, self.patch)

    def scored(self, images: Sequence[list[View]]) -> list[list[Seen]]:
        """The views of some images with the model's scores; windows of one shape go through it together."""
        alike: dict[Any, list[tuple[int, int]]] = {}
        for image, views in enumerate(images):
            for place, view in enumerate(views):
                alike.setdefault((view.shape, view.pixels.dtype), []).append((image, place))
        done: dict[tuple[int, int], Seen] = {}
        for places in alike.values():
            chosen = [images[image][place] for image, place in places]
            counts = [len(view.windows) for view in chosen]
            for key, view, *parts in zip(places, chosen, *(one.split(counts) for one in self._outputs(chosen)), strict=True):
                done[key] = scored(view, *parts) if len(parts) == 1 else Masked(view, Masks(*(one.float() for one in parts)))
        return [[done[image, place] for place in range(len(views))] for image, views in enumerate(images)]

    def bands(self, views: Sequence[Seen]) -> Iterator[Tensor]:
        """Scores at the original size, band by band: probabilities, or the logits of a single view. What masks of queries give is neither,
        and mmseg takes the softmax of it too where it averages views.

        A model with one output gives two: the threshold, as the score of the background, and the probability of the foreground.
        """
        found = bands(views, soft=len(views) > 1 or self.binary or protocols.BY[self.protocol.by].softmaxes)
        return (torch.cat([torch.full_like(band, self.threshold), band], 1) for band in found) if self.binary else found

    def labels(self, views: Sequence[Seen]) -> Tensor:
        """The best class of each pixel, int32 (h, w); of equal ones the first."""
        return torch.cat([band.max(1).indices.int() for band in self.bands(views)])

    def scores(self, image: np.ndarray, mode: str = "ss") -> Tensor:
        """Class scores (c, h, w) at the size of an RGB image uint8 (h, w, 3)."""
        with torch.inference_mode(), arithmetic("fp32"):
            return torch.cat(list(self.bands(self.scored([self.views(image, mode)])[0]))).transpose(0, 1)

    def label_map(self, image: np.ndarray, mode: str = "ss", keep: Callable[[Tensor], None] | None = None) -> np.ndarray:
        """The class of each pixel of an RGB image uint8 (h, w, 3), as uint16 (h, w). `keep` gets the scores of each band; see `bands`."""
        found, top = np.empty(image.shape[:2], np.uint16), 0
        try:
            with torch.inference_mode(), arithmetic("fp32"):
                for band in self.bands(self.scored([self.views(image, mode)])[0]):
                    found[top : top + len(band)] = band.max(1).indices.cpu().numpy()
                    top += len(band)
                    if keep:
                        keep(band)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise self._too_large(image) from error
        return found

    # a data set

    def evaluate(self, chosen: Sequence[Sample], mode: str = "ss", shard: tuple[int, int] = (0, 1)) -> Iterator[tuple[Sample, np.ndarray]]:
        """The confusion of each image, int64 (classes + 1, classes), as it is done; see `confusion`.

        Images go in groups. The groups depend on `chosen` and the device only, and a `shard` (rank, of) takes whole
        groups, so the counts do not depend on the number of shards. Raises EnvironmentFault for an image or label that
        cannot be used.
        """
        together = max(self.together // protocols.views_per_image(mode), 1)
        groups = [chosen[start : start + together] for start in range(0, len(chosen), together)][shard[0] :: shard[1]]
        pairs = _ahead(lambda sample: read_pair(sample, self.classes, self.channels), [sample for group in groups for sample in group])
        for group in groups:
            yield from zip(group, self._counted(group, [next(pairs) for _ in group], mode), strict=True)

    def _counted(self, group: Sequence[Sample], pairs: Sequence[tuple[np.ndarray, np.ndarray]], mode: str) -> np.ndarray:
        """The confusions (images, classes + 1, classes) of some images by their pixels and labels."""
        try:
            with torch.inference_mode(), arithmetic("fp32"):
                labels = [_sent(label.astype(np.int32), self.device) for _, label in pairs]  # early: a copy in between would wait for the network
                views = self.scored([self._views_of(sample, image, mode) for sample, (image, _) in zip(group, pairs, strict=True)])
                found = [confusion(self.labels(seen), label, self.classes) for seen, label in zip(views, labels, strict=True)]
                return torch.stack(found).cpu().numpy()
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise self._too_large(max((image for image, _ in pairs), key=lambda image: image.shape[:2])) from error

    def _too_large(self, image: np.ndarray) -> EnvironmentFault:
        """The error for an image whose scores need too much memory."""
        return EnvironmentFault(f"out of memory on {self.device} with images of {image.shape[1]}x{image.shape[0]}", hint="--device cpu")

    def _views_of(self, sample: Sample, image: np.ndarray, mode: str) -> list[View]:
        try:
            return self.views(image, mode)
        except EnvironmentFault as error:
            raise EnvironmentFault(f"{sample.image}: {error.message}", error.hint) from error

    # the model

    def _outputs(self, views: Sequence[View]) -> list[Tensor]:
        """What the model gives for the windows of some views, of one shape and looked at alike, as many at once as fit: the scores of their patches,
        or masks and what they mean.
        """
        height, width = views[0].shape
        each = -(-height // self.patch) * -(-width // self.patch)
        windows = [(view, *place) for view in views for place in view.windows]
        parts: list[Sequence[Tensor]] = []
        done = 0
        while done < len(windows):
            some = windows[done : done + max(self.tokens // each, 1)]
            try:
                pixels = views[0].look(torch.stack([view.crop(rows, columns) for view, rows, columns in some]))
                with arithmetic(self.precision):
                    found = self.model.scores(pixels.to(self.dtype))  # type: ignore[operator]
                parts.append(found if isinstance(found, Masks) else (found,))
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                self._halve(len(some), each, error)
            else:
                done += len(some)
        return [torch.cat(one) for one in zip(*parts, strict=True)]

    def _halve(self, tried: int, each: int, error: RuntimeError) -> None:
        """Half as many windows at once from now on, of `each` so many tokens. Raises EnvironmentFault if it was a single one."""
        if self.tokens // each <= 1:
            hint = "--device cpu, or --precision bf16 where the GPU has it"
            raise EnvironmentFault(f"out of memory with a single window on {self.device}", hint) from error
        self.tokens = tried // 2 * each or each
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        note = f"out of memory: on with {max(self.tokens // each, 1)} windows at once"
        self.notes.append(note)
        self.warn(note)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own for it; Apple's GPUs and processors say it in words only."""
    words = ("MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error) for one in words)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array on a device; to NVIDIA's GPUs from pinned memory, so that neither side waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _ahead(act: Callable[[Sample], Any], chosen: Sequence[Sample]) -> Iterator[Any]:
    """What `act` gives for each sample, in order, computed by threads some way ahead."""
    workers = min(os.cpu_count() or 1, 16)
    with ThreadPoolExecutor(workers, "decode") as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for sample in chosen:
                waiting.append(pool.submit(act, sample))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
