"""A data set through a model, to pixel counts: MMSegmentation's test protocols, image by image.

Modes: `ss`, single scale; `ms+flip`, as MMSegmentation 0.x measured its published figures (the image at six
sizes of the protocol's scale, plain and flipped); `ms+flip-1.x`, as 1.x's `tta_pipeline` does it (six sizes
of the raw image: another protocol with other figures); `whole`, the image in one piece instead of windows.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segzoo.datasets.ade20k import read_image, read_label
from segzoo.datasets.pairs import Sample
from segzoo.datasets.resize import rescaled, resize
from segzoo.errors import EnvironmentFault
from segzoo.inference import close_calls, segment
from segzoo.miou import Counts, count
from segzoo.zoo import Protocol

# The difference between two best scores below which another order of additions may pick the other class.
MARGIN = 2e-5


MODES = ("ss", "ms+flip", "ms+flip-1.x", "whole")
_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def scores_of(model: nn.Module, image: np.ndarray, protocol: Protocol, device: torch.device, mode: str = "ss") -> Tensor:
    """Class scores (c, h, w) at the size of an RGB image uint8 (h, w, 3): logits, or with ms+flip mean probabilities."""
    size = image.shape[0], image.shape[1]
    if mode in ("ss", "whole"):
        only = _normalised(image, rescaled(size, protocol.scale), protocol, device)
        return segment(model, only, size, protocol.crop, protocol.stride, mode == "whole")
    mean: Tensor | None = None
    for sized in augmented_sizes(size, protocol.scale, mode):
        plain = _normalised(image, sized, protocol, device)
        for view in (plain, plain.flip(-1)):
            scores = segment(model, view, size, protocol.crop, protocol.stride)
            probabilities = (scores if view is plain else scores.flip(-1)).softmax(0)
            mean = probabilities if mean is None else mean + probabilities
    assert mean is not None
    return mean / (2 * len(_RATIOS))


def augmented_sizes(size: tuple[int, int], scale: tuple[int, int], mode: str) -> list[tuple[int, int]]:
    """The sizes (height, width) of an image in test-time augmentation."""
    if mode == "ms+flip":
        return [rescaled(size, (int(scale[0] * ratio), int(scale[1] * ratio))) for ratio in _RATIOS]
    return [rescaled(size, (int(size[0] * ratio + 0.5), int(size[1] * ratio + 0.5))) for ratio in _RATIOS]


def _normalised(image: np.ndarray, size: tuple[int, int], protocol: Protocol, device: torch.device) -> Tensor:
    small = torch.from_numpy(resize(image, size)).to(device)
    return (small.permute(2, 0, 1)[None].float() - protocol.mean) / protocol.std


def evaluate(
    model: nn.Module, chosen: Sequence[Sample], protocol: Protocol, classes: int, device: torch.device, mode: str = "ss"
) -> Iterator[tuple[Sample, Counts]]:
    """The counts of each image, as it is done. Raises EnvironmentFault for an image or label that cannot be used."""
    model = model.to(device)
    for sample in chosen:
        image, label = _pair(sample)
        pred = scores_of(model, image, protocol, device, mode).argmax(0).cpu().numpy()
        yield sample, count(pred, label, classes)


def explained(
    model: nn.Module, sample: Sample, found: Counts, expected: Counts, protocol: Protocol, device: torch.device, mode: str = "ss"
) -> tuple[bool, int]:
    """Whether close calls alone can account for these counts being unequal; and how many close calls there are.

    Each pixel that goes to another class changes each kind of count by at most two in sum.
    """
    image, label = _pair(sample)
    close = int((close_calls(scores_of(model, image, protocol, device, mode), MARGIN).cpu().numpy() & (label != 255)).sum())
    changed = [int(np.abs(mine - theirs).sum()) for mine, theirs in zip(found.arrays, expected.arrays, strict=True)]
    return changed[2] == 0 and max(changed) <= 2 * close, close


def subset(found: Sequence[Sample], images: int | None, seed: int = 0) -> list[Sample]:
    """A seeded choice of so many images, in order; all of them where there are no more."""
    if images is None or images >= len(found):
        return list(found)
    return [found[index] for index in sorted(random.Random(seed).sample(range(len(found)), images))]  # noqa: S311 - not for secrets


def _pair(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    image, label = read_image(sample.image), read_label(sample.label)
    if image.shape[:2] != label.shape:
        raise EnvironmentFault(f"{sample.label}: {label.shape[1]}x{label.shape[0]} pixels, its image has {image.shape[1]}x{image.shape[0]}")
    return image, label
