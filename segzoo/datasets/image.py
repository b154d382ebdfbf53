"""Images from their files, as OpenCV decodes them with its colour flag (mmcv's `imfrombytes`).

EXIF orientation, CMYK, alpha, palettes and 16 bits are treated as OpenCV treats them. Where its libraries read a file that Pillow
refuses, such as one with a wrong checksum beside the pixels, the file is read here too.
"""

import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from segzoo.datasets import png, tiff
from segzoo.errors import EnvironmentFault

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_MOST = 1 << 30  # pixels, as OpenCV (CV_IO_MAX_IMAGE_PIXELS)
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


def read_image(path: Path, channels: int = 3) -> np.ndarray:
    """An image as RGB uint8 (h, w, 3), or for a model of other channels its bands as the file stores them, uint8 (h, w, channels).

    Raises EnvironmentFault if it cannot be read, as all functions here do, or if it does not have these bands.
    """
    try:
        if channels != 3:
            return _bands(path, channels)
        try:
            return _decoded(path, path)
        except (ValueError, SyntaxError, OSError):
            if (whole := png.essence(path)) is None:
                raise
            return _decoded(BytesIO(whole), path)
    except UNREADABLE as error:
        raise unreadable(path, "image", error) from error


def _bands(path: Path, channels: int) -> np.ndarray:
    """The bands of an image, turned as its EXIF says. Raises EnvironmentFault for another number of bands, or others than of 8 bits."""
    with opened(path) as image:
        bands = image.getbands()
        if image.mode not in _OF_BYTES or len(bands) != channels:
            raise EnvironmentFault(
                f"{path}: {image.mode}, {len(bands)} {'band' if len(bands) == 1 else 'bands'}; the model takes {channels}, of 8 bits each",
                hint=f"give it pictures of just {'one band, such as grey PNGs' if channels == 1 else f'{channels} bands, such as TIFFs'}",
            )
        image.load()
        return _turned(np.array(image).reshape(image.height, image.width, channels), _turn_of(image, path))


_OF_BYTES = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 (h, w, channels) as a person is shown them, (h, w, 3): the first three bands, or the only one as grey."""
    return pixels if pixels.shape[2] == 3 else pixels[..., :3] if pixels.shape[2] > 3 else np.repeat(pixels[..., :1], 3, axis=2)


def pixels_of(path: Path) -> int:
    """The number of pixels of an image, from its header."""
    try:
        with opened(path) as image:
            return image.width * image.height
    except UNREADABLE as error:
        raise unreadable(path, "image", error) from error


_LOCK = threading.Lock()


@contextmanager
def opened(file: Any) -> Iterator[Any]:
    """An image by Pillow, without Pillow's limit to the number of pixels, which is lower than OpenCV's and all programs' own."""
    _plugged()
    with _LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        if image.width * image.height > _MOST:
            raise _Unfit(f"{image.width}x{image.height} pixels are more than OpenCV reads, {_MOST}", "cut it into pieces, or make it smaller")
        yield image


class _Unfit(ValueError):
    """A sound file whose pixels are no colours of 8 or 16 bits."""

    def __init__(self, why: str, hint: str):
        super().__init__(why)
        self.hint = hint


_TO_EIGHT = "convert it to 8-bit RGB first: gdal_translate -ot Byte -scale, or the program that wrote it"


def _decoded(file: Any, path: Path) -> np.ndarray:
    with opened(file) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of metadata that nobody reads
        lower = None
        if image.format == "TIFF":
            if why := tiff.unreadable(image.tag_v2):
                raise _Unfit(why, _TO_EIGHT)
            tiff.as_stored(image)
            with opened(path) as again:
                tiff.as_stored(again)
                if tiff.low_bytes(again):
                    lower = again
                    again.load()
        image.load()  # which turns a TIFF
        if image.mode == "F":
            raise _Unfit("its values are floating-point numbers", _TO_EIGHT)
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


# what Pillow reads with a package of its own

_PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".avif": "pillow-avif-plugin"}
_BRANDS = {b"heic": ".heic", b"heix": ".heic", b"hevc": ".heic", b"mif1": ".heif", b"msf1": ".heif", b"avif": ".avif", b"avis": ".avif"}


@lru_cache(1)
def _plugged() -> None:
    """Make Pillow know the packages that are installed for HEIC and AVIF."""
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    if find_spec("pillow_avif"):
        import_module("pillow_avif")


def lacking_plugin(suffix: str) -> str | None:
    """What must be installed for Pillow to read files with this suffix; None if it reads them."""
    _plugged()
    return _PLUGINS.get(suffix) if suffix not in Image.registered_extensions() else None


# why a file cannot be read


def unreadable(path: Path, what: str, error: Exception) -> EnvironmentFault:
    """The error for a file that is damaged, no image, or of a kind that nobody here reads; or that the system does not open."""
    said = f"{path}: not a readable {what}"
    if isinstance(error, OSError) and error.errno is not None:
        return EnvironmentFault(f"{said}: {error.strerror}")
    if isinstance(error, _Unfit):
        return EnvironmentFault(f"{said}: {error}", error.hint)
    with path.open("rb") as file:
        head = file.read(16)
    kind = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if kind and (plugin := lacking_plugin(kind)):
        return EnvironmentFault(f"{said}: {kind[1:].upper()} needs a package of its own", f"pip install {plugin}")
    if isinstance(error, (UnidentifiedImageError, ValueError)) and (facts := _facts_of_tiff(path, head)):
        return EnvironmentFault(f"{said}: a TIFF of {facts}, which Pillow does not read", _TO_EIGHT)
    why = "in no format that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return EnvironmentFault(f"{said}: {why}", hint="it is damaged or no image: get it again from its source")


def _facts_of_tiff(path: Path, head: bytes) -> str | None:
    """Bands and bits of a TIFF by its tags; None if it is none, or cut off before or within its pixels."""
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")
            tags = TiffImagePlugin.ImageFileDirectory_v2(head[: 16 if b"+" in head[:4] else 8])
            file.seek(tags.next)
            tags.load(file)
            length = file.seek(0, 2)
        bits, bands = tags.get(258, (1,)), tags.get(277, 1)
        starts, counts = ((273, 279), (324, 325))[324 in tags]
        if any(begin + count > length for begin, count in zip(tags[starts], tags[counts], strict=True)):
            return None
    except (SyntaxError, KeyError, ValueError, TypeError, OSError, struct.error, UserWarning):
        return None
    return f"{bands} band{'s' * (bands != 1)} of {max(bits)} bits"
