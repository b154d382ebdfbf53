"""How a program looks at an image: at which sizes, in which windows, and where programs differ.

Modes: `ss` is a single scale. `ms+flip` is six sizes of the protocol's scale, plain and flipped, as MMSegmentation 0.x and
rstrudel/segmenter measured their published figures. `ms+flip-1.x` is six sizes of the image itself, as `tta_pipeline` of
MMSegmentation 1.x does it; it gives other figures. `whole` is a single scale in one piece instead of windows. `ss-32` and `ms+flip-32`
bring the sides of each size up to multiples of 32, as a second table of MMSegmentation's SegFormers does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from segzoo.errors import EnvironmentFault, UsageError
from segzoo.evaluation.resize import rescaled, resize
from segzoo.evaluation.windows import Axis, View
from segzoo.manifest.entries import Protocol

_MULTIPLE = 32
_TO_MULTIPLES = f"-{_MULTIPLE}"
"""How the names of modes end that bring sides up to multiples."""
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


@dataclass(frozen=True, slots=True)
class Program:
    """Where one program's evaluation differs from another's.

    `enlarges`: an image smaller than a window is enlarged until a window fits; else it is one smaller window.
    `cuts_padding`: the scores of padding are cut off; else they are squeezed into the window with the others.
    `softmaxes`: the softmax is taken at a single scale too; else only where several views are averaged.
    """

    enlarges: bool
    cuts_padding: bool
    softmaxes: bool


BY: Mapping[str, Program] = {
    "mmseg": Program(enlarges=False, cuts_padding=False, softmaxes=False),
    "rstrudel": Program(enlarges=True, cuts_padding=True, softmaxes=True),
}
"""The programs by `protocol.by`."""


def flips(mode: str) -> bool:
    """Whether a mode sees each size flipped as well."""
    return mode.startswith("ms+flip")


def refuse_mode(mode: str, outputs: int) -> None:
    """Raises UsageError for a mode that has no meaning for a model with this many outputs."""
    if outputs == 1 and mode == "ms+flip-1.x":
        said = "mmseg 1.2.2's tta_pipeline takes the sigmoid of a single output twice, so that every pixel is above 0.5 and foreground"
        raise UsageError(f"--mode {mode}: {said}", hint="--mode ms+flip averages the probabilities as MMSegmentation 0.x does")


def views_per_image(mode: str) -> int:
    return 2 * len(RATIOS) if flips(mode) else 1


def sizes(size: tuple[int, int], scale: tuple[int, int] | None, mode: str, min_size: int | None = None) -> list[tuple[int, int]]:
    """The sizes (height, width) at which a mode looks at an image of `size`, before sides are brought to multiples. Without a `scale` it is the
    image's own.

    With a `min_size`, ms+flip sees no short side below it, and the long side has no limit: as `Resize(min_size=...)` of MMSegmentation 0.x does.
    """
    mode = mode.removesuffix(_TO_MULTIPLES)
    if min_size is not None and mode == "ms+flip":
        return [_short(size, max(int(min(scale or size) * ratio), min_size)) for ratio in RATIOS]
    if scale is None and mode == "ms+flip":
        return [(int(size[0] * ratio), int(size[1] * ratio)) for ratio in RATIOS]
    if scale is not None and mode == "ms+flip":
        return [rescaled(size, (int(scale[0] * ratio), int(scale[1] * ratio))) for ratio in RATIOS]
    if mode == "ms+flip-1.x":
        return [rescaled(size, (int(size[0] * ratio + 0.5), int(size[1] * ratio + 0.5))) for ratio in RATIOS]
    return [size if scale is None else rescaled(size, scale)]


def _short(size: tuple[int, int], short: int) -> tuple[int, int]:
    """A size with this short side. The long side is computed as mmseg 0.x and mmcv do, so that it is rounded as theirs."""
    height, width = size
    return rescaled(size, (short * height / width, short) if height > width else (short, short * width / height))


def views(pixels: Tensor, protocol: Protocol, mode: str, patch: int) -> list[View]:
    """All views of an RGB image uint8 (h, w, 3), in the order in which their probabilities are added.

    Raises EnvironmentFault if the image is so thin that a size of the protocol has no pixel of it.
    """
    height, width = pixels.shape[:2]
    found = []
    for sized in sizes((height, width), protocol.scale, mode, protocol.min_size):
        if 0 in sized:
            raise EnvironmentFault(f"too thin: {width}x{height} pixels would be resized to {sized[1]}x{sized[0]}", hint="leave it out")
        plain, look = seen(aligned(resize(pixels, sized), protocol, mode), protocol)
        rows = windowed(0, plain.shape[0], height, protocol, mode, patch)
        columns = windowed(1, plain.shape[1], width, protocol, mode, patch)
        found += [View(rows, columns, flipped, plain, look) for flipped in ((False, True) if flips(mode) else (False,))]
    return found


def aligned(image: Tensor, protocol: Protocol, mode: str) -> Tensor:
    """A resized image uint8 (h, w, 3), resized once more if its sides must be multiples of a number. A side is never made shorter."""
    multiple = _MULTIPLE if mode.endswith(_TO_MULTIPLES) else protocol.multiple or 1
    height, width = (side + -side % multiple for side in image.shape[:2])
    return resize(image, (height, width))


def of_channels(protocol: Protocol, channels: int) -> Protocol:
    """The protocol with mean and deviation for so many channels. Raises EnvironmentFault where it has those of another number."""
    if len(protocol.mean) == len(protocol.std) == channels:
        return protocol
    if len({*protocol.mean}) > 1 or len({*protocol.std}) > 1:
        raise EnvironmentFault(
            f"the model takes {channels} {'channel' if channels == 1 else 'channels'}, and the protocol has mean and std of {len(protocol.mean)}",
            hint="mean and std in a manifest are one number for all channels, or one each",
        )
    return protocol.model_copy(update={"mean": protocol.mean[:1] * channels, "std": protocol.std[:1] * channels})


def seen(image: Tensor, protocol: Protocol) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The pixels of a resized image uint8 (h, w, 3), and what makes the model's input of windows of them; see `View`.

    The windows are normalised. Only an image that the program enlarges is normalised as a whole.
    """
    crop = protocol.windows[0]
    if crop and BY[protocol.by].enlarges and min(image.shape[:2]) < crop[0]:
        return normalised(image, protocol).permute(1, 2, 0), _first
    mean, std = (_channels(values, image.device) for values in (protocol.mean, protocol.std))
    return image, lambda windows: _padded(_first((windows.float() - mean).div_(std)), protocol.pad)


def normalised(image: Tensor, protocol: Protocol) -> Tensor:
    """A resized image uint8 (h, w, 3) as the model takes it, float32 (3, h, w); enlarged if the program does that."""
    mean, std = (_channels(values, image.device) for values in (protocol.mean, protocol.std))
    plain = (image.float() - mean).div_(std).permute(2, 0, 1)
    crop = protocol.windows[0]
    return _enlarged(plain, crop[0]) if crop and BY[protocol.by].enlarges else plain


def _first(windows: Tensor) -> Tensor:
    """Channels (windows, h, w, 3) as the first axis of each window."""
    return windows.permute(0, 3, 1, 2).contiguous()


def _padded(windows: Tensor, multiple: int | None) -> Tensor:
    """Windows (windows, 3, h, w) with zeros, right and bottom, so that their sides are whole multiples."""
    height, width = windows.shape[2:]
    return F.pad(windows, (0, -width % multiple, 0, -height % multiple)) if multiple else windows


@lru_cache(64)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)  # once a device: a copy to a GPU waits for the network


def _enlarged(image: Tensor, crop: int) -> Tensor:
    """An image (3, h, w) whose shorter side is at least `crop`."""
    height, width = image.shape[1:]
    if min(height, width) >= crop:
        return image
    longer = int(max(height, width) / min(height, width) * crop)
    return F.interpolate(image[None], (crop, longer) if height < width else (longer, crop), mode="bilinear", align_corners=False)[0]


def windowed(side: int, length: int, target: int, protocol: Protocol, mode: str, patch: int) -> Axis:
    """One axis of `length` pixels, `target` at the original size, and its windows. `side` is 0 for rows and 1 for columns."""
    crop, stride = protocol.windows
    pieces = (length, length) if mode == "whole" or crop is None or stride is None else (crop[side], stride[side])
    return Axis(length, target, *pieces, protocol.pad or (patch if BY[protocol.by].cuts_padding else None))
