"""Images from their files, as OpenCV decodes them with its colour flag (mmcv's `imfrombytes`).

EXIF orientation, CMYK, alpha, palettes and 16 bits are treated as OpenCV treats them. Where its libraries read a file that Pillow
refuses, such as one with a wrong checksum beside the pixels, the file is read here too.
"""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from segzoo.datasets import png, tiff
from segzoo.datasets.picture_file import TO_EIGHT, Unfit, more_than_one, opened, reading, refuse_bomb
from segzoo.errors import EnvironmentFault, SegzooError

_AT_ONCE = 1 << 20  # pixels that are converted at a time

# By the orientation in EXIF, as steps in numpy: whether rows and columns change places, and which of them are then reversed.
# Pillow's `exif_transpose` and `getexif` also find one in XMP, where OpenCV does not look.
_ORIENTATION = 0x0112
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def _nobody(note: str) -> None:
    """Hears a note, and does nothing."""


def read_image(path: Path, channels: int = 3, said: Callable[[str], None] = _nobody) -> np.ndarray:
    """An image as RGB uint8 (h, w, 3), or for a model of other channels its bands as the file stores them, uint8 (h, w, channels).

    Of several pictures in a file it is the first, and `said` hears so. Raises EnvironmentFault if the file cannot be read, as all functions
    here do, or if it does not have these bands.
    """
    with reading(path):
        if channels != 3:
            return _bands(path, channels, said)
        try:
            return _decoded(path, path, said)
        except SegzooError:
            raise
        except Exception:  # Pillow may have stumbled over what no pixel depends on
            if (whole := png.essence(path)) is None:
                raise
            return _decoded(BytesIO(whole), path, said)


def _bands(path: Path, channels: int, said: Callable[[str], None]) -> np.ndarray:
    """The bands of an image, turned as its EXIF says. Raises EnvironmentFault for another number of bands, or others than of 8 bits."""
    with opened(path) as image:
        bands = image.getbands()
        if image.mode not in _OF_BYTES or len(bands) != channels:
            raise EnvironmentFault(
                f"{path}: {image.mode}, {len(bands)} {'band' if len(bands) == 1 else 'bands'}; the model takes {channels}, of 8 bits each",
                hint=f"give it pictures of just {'one band, such as grey PNGs' if channels == 1 else f'{channels} bands, such as TIFFs'}",
            )
        refuse_bomb(image)
        _say(image, said)
        image.load()
        return _turned(np.array(image).reshape(image.height, image.width, channels), _turn_of(image, path))


def _say(image: Image.Image, said: Callable[[str], None]) -> None:
    if note := more_than_one(image):
        said(note)


_OF_BYTES = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 (h, w, channels) as a person is shown them, (h, w, 3): the first three bands, or the only one as grey."""
    return pixels if pixels.shape[2] == 3 else pixels[..., :3] if pixels.shape[2] > 3 else np.repeat(pixels[..., :1], 3, axis=2)


def pixels_of(path: Path) -> int:
    """The number of pixels of an image, from its header."""
    with reading(path), opened(path) as image:
        return int(image.width * image.height)


def _decoded(file: Path | BinaryIO, path: Path, said: Callable[[str], None]) -> np.ndarray:
    with opened(file) as image:
        refuse_bomb(image)
        lower = None
        if image.format == "TIFF":
            if why := tiff.unreadable(image.tag_v2):
                raise Unfit(why, TO_EIGHT)
            tiff.as_stored(image)
            if tiff.has_low_bytes(image):
                with opened(path) as again:
                    tiff.as_stored(again)
                    tiff.low_bytes(again)
                    again.load()
                    lower = again
        _say(image, said)
        image.load()  # which turns a TIFF
        if image.mode == "F":
            raise Unfit("its values are floating-point numbers", TO_EIGHT)
        return _turned(rgb_of(image, lower), _turn_of(image, path))


def rgb_of(image: Image.Image, lower: Image.Image | None = None) -> np.ndarray:
    """The pixels of a loaded image as RGB uint8 (h, w, 3), converted a few rows at a time. `lower` has the lower bytes of 16 bits."""
    found = np.empty((image.height, image.width, 3), np.uint8)
    convert = _converter(image)
    step = max(_AT_ONCE // image.width, 1)
    for top in range(0, image.height, step):
        place = (0, top, image.width, min(top + step, image.height))
        rows = image.crop(place)
        if lower is not None:
            rows = Image.fromarray(tiff.rounded(np.asarray(rows), np.asarray(lower.crop(place))), image.mode)
        found[top : place[3]] = convert(rows)
    return found


def _converter(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """What makes RGB of rows of an image."""
    if image.format == "TIFF" and (convert := tiff.converter(image)):
        return lambda rows: convert(np.asarray(rows))
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO"):
        return lambda rows: _from_cmyk(np.asarray(rows))
    if image.mode.startswith("I"):  # 16 bits, which older versions of Pillow keep in 32
        return lambda rows: ((np.asarray(rows) & 0xFFFF) >> 8).astype(np.uint8)[..., None]
    if image.mode == "La":
        return lambda rows: np.asarray(rows.getchannel(0))[..., None]
    return lambda rows: np.asarray(rows.convert("RGB"))


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    if turn not in _TURNS:
        return pixels
    across, down, right = _TURNS[turn]
    seen = pixels.transpose(1, 0, 2) if across else pixels
    return np.ascontiguousarray(seen[:: -1 if down else 1, :: -1 if right else 1])


def _turn_of(image: Image.Image, path: Path) -> int:
    """The orientation of a loaded image; 0 for a TIFF, which Pillow turns itself."""
    return _orientation(b"" if image.format == "TIFF" else png.exif(path) if image.format == "PNG" else (image.info.get("exif") or b""))


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
