"""Images and label maps from their files, decoded as MMSegmentation decodes them.

Images come out as from cv2 with its colour flag (mmcv's `imfrombytes`), EXIF orientation, CMYK and 16 bits included.
Labels come out as they are stored: values of 1 to 16 bits, palette indices or colours, never turned, resized or scaled.
"""

import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from segzoo.datasets.indices import indices
from segzoo.datasets.sample import IGNORED, NO_CLASS, Meaning, Sample
from segzoo.errors import EnvironmentFault

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)

# By the orientation in EXIF. Pillow's `exif_transpose` and `getexif` also find one in XMP, where OpenCV does not look.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path) -> np.ndarray:
    """An image as RGB uint8 (h, w, 3). Raises EnvironmentFault if it cannot be read, as all functions here do."""
    try:
        with Image.open(path) as image:
            image.load()  # a PNG's EXIF may come after its pixels; a TIFF is turned here
            turn = 0 if image.format == "TIFF" else _orientation(image.info.get("exif", b""))
            turned = image.transpose(_TURNS[turn]) if turn in _TURNS else image
            if turned.mode == "CMYK" and image.format in ("JPEG", "MPO"):
                return _from_cmyk(np.array(turned))
            if turned.mode.startswith("I"):  # 16 bits, which older versions of Pillow keep in 32
                return np.repeat((np.array(turned).clip(0, 65535) >> 8).astype(np.uint8)[..., None], 3, axis=2)
            return np.array(turned.convert("RGB"))
    except UNREADABLE as error:
        raise _unreadable(path, "image", error) from error


def _unreadable(path: Path, what: str, error: Exception) -> EnvironmentFault:
    """The error for a file that is damaged or no image, or that the system does not open."""
    if isinstance(error, OSError) and error.errno is not None:
        return EnvironmentFault(f"{path}: not a readable {what}: {error.strerror}")
    why = "in no format that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return EnvironmentFault(f"{path}: not a readable {what}: {why}", hint="it is damaged or no image: get it again from its source")


def _orientation(exif: bytes) -> int:
    """The orientation in a block of EXIF, 0 without one, as OpenCV 4.x reads it (`exif.cpp`): two bytes, whatever type the entry gives."""
    tiff = exif.removeprefix(b"Exif\0\0")
    short = "<H" if tiff.startswith(b"II") else ">H"
    try:
        (mark,), (begin,) = struct.unpack_from(short, tiff, 2), struct.unpack_from(f"{short[0]}I", tiff, 4)
        (entries,) = struct.unpack_from(short, tiff, begin)
        for place in range(begin + 2, begin + 2 + 12 * entries, 12):
            if mark == 42 and struct.unpack_from(short, tiff, place) == (_ORIENTATION,):
                return int(struct.unpack_from(short, tiff, place + 8)[0])
    except struct.error:  # cut off before one was found
        return 0
    return 0


def _from_cmyk(pixels: np.ndarray) -> np.ndarray:
    """RGB from a JPEG's CMYK by OpenCV's integer formula (`icvCvt_CMYK2BGR`). It takes the values as stored; Pillow inverts them."""
    stored = (255 - pixels).astype(np.int32)
    black = stored[..., 3:]
    return (black - ((255 - stored[..., :3]) * black >> 8)).astype(np.uint8)


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
    try:
        with Image.open(sample.label) as image:
            if image.format in LOSSY:
                raise EnvironmentFault(
                    f"{sample.label}: a label map in {image.format}, which changes the values that it stores",
                    hint="write the label maps anew, as PNG, from what they were made of",
                )
            return read(image, sample)
    except UNREADABLE as error:
        raise _unreadable(sample.label, "label map", error) from error


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


def read_pair(sample: Sample, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, of the same size."""
    image, label = read_image(sample.image), read_label(sample, classes)
    same_size(sample, image.shape, label.shape)
    return image, label


def same_size(sample: Sample, image: tuple[int, ...], label: tuple[int, ...]) -> None:
    """Raises EnvironmentFault if an image (h, w, 3) and its label map (h, w) are not of the same size."""
    if image[:2] != label:
        said = f"{sample.label}: {label[1]}x{label[0]} pixels, its image has {image[1]}x{image[0]}"
        raise EnvironmentFault(said, hint=_apart(sample.image, label))


def _apart(image: Path, size: tuple[int, ...]) -> str:
    """What to do if a label map's size (h, w) is not that of its image."""
    with Image.open(image) as stored:
        if (stored.height, stored.width) != size:
            return "one of them was resized, or belongs to another picture: get both again from their source"
    turned = f"as stored, {image.name} has the label's size; its EXIF turns it, and MMSegmentation follows the EXIF"
    return f"{turned}: remove the orientation from the image's EXIF, or turn the label map"


def pixels_of(path: Path) -> int:
    """The number of pixels of an image, from its header."""
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except UNREADABLE as error:
        raise _unreadable(path, "image", error) from error


def mode_of(path: Path) -> str:
    """How a picture is stored, as Pillow calls it: its format and mode, such as "PNG L"."""
    try:
        with Image.open(path) as image:
            return f"{image.format} {image.mode}"
    except UNREADABLE as error:
        raise _unreadable(path, "image", error) from error
