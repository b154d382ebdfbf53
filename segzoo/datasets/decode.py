"""Images and label maps from their files, decoded as MMSegmentation decodes them.

Images come out as from cv2 with its colour flag (mmcv's `imfrombytes`), EXIF orientation, CMYK and 16 bits included.
Labels come out as from Pillow: 8-bit values or palette indices, never turned or resized.
"""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from segzoo.datasets.sample import IGNORED, Sample
from segzoo.errors import EnvironmentFault

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)

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
            return rgb_of(turned, image.format)
    except _UNREADABLE as error:
        raise _unreadable(path, "image", error) from error


def rgb_of(image: Image.Image, kind: str | None = None) -> np.ndarray:
    """The pixels of a loaded image as RGB uint8 (h, w, 3). `kind` is the format of its file, where the image itself does not know it."""
    if image.mode == "CMYK" and (kind or image.format) in ("JPEG", "MPO"):
        return _from_cmyk(np.array(image))
    if image.mode.startswith("I"):  # 16 bits, which older versions of Pillow keep in 32
        return np.repeat((np.array(image).clip(0, 65535) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


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
    """Class indices uint8 (h, w) by the sample's own table; 255 is ignored."""
    try:
        with Image.open(sample.label) as image:
            mode, raw = image.mode, np.array(image)
    except _UNREADABLE as error:
        raise _unreadable(sample.label, "label map", error) from error
    if mode not in ("L", "P"):
        raise EnvironmentFault(
            f"{sample.label}: expected 8-bit class indices, found an image of mode {mode}",
            hint="colours or 16-bit labels are another edition of the data set",
        )
    label = np.frombuffer(sample.meaning, np.uint8)[raw]
    if (beyond := (label >= classes) & (label != IGNORED)).any():
        values = ", ".join(map(str, np.unique(raw[beyond])[:6]))
        raise EnvironmentFault(
            f"{sample.label}: labels {values} in {int(beyond.sum())} pixels, but the data set has {classes} classes",
            hint="the label is of another edition of the data set, or the manifest has the wrong `loader` or too few `classes`",
        )
    return label


def read_pair(sample: Sample, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, of the same size."""
    image, label = read_image(sample.image), read_label(sample, classes)
    if image.shape[:2] != label.shape:
        said = f"{sample.label}: {label.shape[1]}x{label.shape[0]} pixels, its image has {image.shape[1]}x{image.shape[0]}"
        raise EnvironmentFault(said, hint=_apart(sample.image, label.shape))
    return image, label


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
    except _UNREADABLE as error:
        raise _unreadable(path, "image", error) from error
