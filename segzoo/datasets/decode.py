"""Label maps from their files, and pairs of image and label map, decoded as MMSegmentation decodes them.

Labels come out as they are stored: values of 1 to 16 bits, palette indices or colours, never turned, resized or scaled.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from segzoo.datasets.image import read_image
from segzoo.datasets.indices import indices
from segzoo.datasets.picture_file import opened, reading
from segzoo.datasets.sample import IGNORED, NO_CLASS, Meaning, Sample
from segzoo.errors import EnvironmentFault


def read_label(sample: Sample, classes: int) -> np.ndarray:
    """Class indices uint16 (h, w) of a sample's label map; `ignored(classes)` marks ignored pixels.

    Raises EnvironmentFault, which names them, for values that mean nothing.
    """
    values = read_values(sample)
    label = indices(sample.meaning, values, classes)
    if (strange := label == NO_CLASS).any():
        raise _strange(sample, values[strange], classes)
    return label


def _strange(sample: Sample, values: np.ndarray, classes: int) -> EnvironmentFault:
    """The error for values in a label map that are neither a class nor ignored."""
    first = [int(value) for value in np.unique(values)[:6]]
    shown = ", ".join(map(sample.meaning.shown, first))
    what = "colours" if sample.meaning.coloured else "labels"
    said = f"{sample.label}: {what} {shown} in {values.size} pixels, but the data set has {classes} classes"
    return EnvironmentFault(said, advice(sample.meaning, first))


def advice(meaning: Meaning, strange: Sequence[int]) -> str:
    """What to do about values that are neither a class nor ignored."""
    if list(strange) == [IGNORED] and not meaning.coloured:
        return "255 mostly marks pixels that do not count: if it does here, add it to `ignore` in the manifest's `labels`"
    return "the labels are of another edition of the data set, or the manifest has the wrong `loader` or `labels`, or too few `classes`"


def read_values(sample: Sample) -> np.ndarray:
    """The values in a label map as they are stored, (h, w): uint8 or uint16, or for a meaning in colours 0xRRGGBB as uint32."""
    read = _colours if sample.meaning.coloured else _indices
    with reading(sample.label, "label map"), opened(sample.label) as image:
        if image.format in LOSSY:
            raise EnvironmentFault(
                f"{sample.label}: a label map in {image.format}, which changes the values that it stores",
                hint="write the label maps anew, as PNG, from what they were made of",
            )
        return read(image, sample)


LOSSY = ("JPEG", "MPO")
_OF_INDICES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I")
_OF_COLOURS = ("1", "L", "P", "RGB", "RGBA")


def _indices(image: Image.Image, sample: Sample) -> np.ndarray:
    unscaled, mode = _unscaling(image), image.mode
    if mode not in _OF_INDICES:
        hint = "if its colours are the classes, say so in the manifest: `labels: {colours: true}`" if mode in _OF_COLOURS else None
        hint = hint or "write the label maps anew, with the index of the class as the value of each pixel"
        raise EnvironmentFault(f"{sample.label}: expected class indices of at most 16 bits, found an image of mode {mode}", hint)
    values = unscaled(np.array(image))
    if not 0 <= int(values.min()) <= int(values.max()) <= _MOST:
        raise EnvironmentFault(f"{sample.label}: values from {values.min()} to {values.max()}; class indices go from 0 to {_MOST}")
    return values.astype(np.uint8 if values.dtype in (np.uint8, np.bool_) else np.uint16, copy=False)


_MOST = 65535


def _unscaling(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """What undoes Pillow's scaling of grey values with few bits to the range of 8 or 16. It is asked for before the pixels are loaded."""
    tile = image.tile[0] if isinstance(image, ImageFile.ImageFile) and image.tile else None
    form: Any = tile[3] if tile else None
    if tile and tile[0].startswith("ppm") and isinstance(form, tuple):  # with the largest value that its header states
        top = 255 if image.mode == "L" else _MOST
        return lambda values: np.rint(values * (form[1] / top)).astype(np.uint16)
    few = re.match(r"L;([24])", str(next(iter(form), "") if isinstance(form, tuple) else form))
    step = 255 // (2 ** int(few[1]) - 1) if few else 1
    return lambda values: values // step if step > 1 else values


def _colours(image: Image.Image, sample: Sample) -> np.ndarray:
    if image.mode not in _OF_COLOURS:
        raise EnvironmentFault(f"{sample.label}: expected colours of 8 bits a channel, found an image of mode {image.mode}")
    if image.mode == "RGBA" and np.array(image.getchannel("A")).min() < 255:
        raise EnvironmentFault(f"{sample.label}: some of its pixels are transparent, and a transparent pixel has no certain colour")
    pixels = np.asarray(image.convert("RGB"))
    packed = pixels[..., 0].astype(np.uint32)
    for channel in (1, 2):
        packed <<= 8
        packed |= pixels[..., channel]
    return packed


def read_pair(sample: Sample, classes: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, of the same size. The image is RGB, or has as many bands as a model's other number of `channels`."""
    image, label = read_image(sample.image, channels), read_label(sample, classes)
    same_size(sample, image.shape, label.shape)
    return image, label


def same_size(sample: Sample, image: tuple[int, ...], label: tuple[int, ...]) -> None:
    """Raises EnvironmentFault if an image (h, w, 3) and its label map (h, w) are not of the same size."""
    if image[:2] != label:
        said = f"{sample.label}: {label[1]}x{label[0]} pixels, its image has {image[1]}x{image[0]}"
        raise EnvironmentFault(said, hint=_apart(sample.image, label))


def _apart(image: Path, size: tuple[int, ...]) -> str:
    """What to do if a label map's size (h, w) is not that of its image."""
    with reading(image), opened(image) as stored:
        if (stored.height, stored.width) != size:
            return "one of them was resized, or belongs to another picture: get both again from their source"
    turned = f"as stored, {image.name} has the label's size; its EXIF turns it, and MMSegmentation follows the EXIF"
    return f"{turned}: remove the orientation from the image's EXIF, or turn the label map"


def mode_of(path: Path) -> str:
    """How a picture is stored, as Pillow calls it: its format and mode, such as "PNG L"."""
    with reading(path), opened(path) as image:
        return f"{image.format} {image.mode}"
