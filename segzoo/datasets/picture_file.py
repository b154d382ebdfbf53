"""A picture's file, opened: a regular file in one of the formats on the list below, of at most so many pixels.

The file comes from a stranger. Pillow tells a format by its content, and for some formats it starts a program (Ghostscript for EPS), so it is
asked for these formats only. What its decoders raise, whatever it is, becomes the error of that file.
"""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, _imaging

from segzoo.datasets.listing import open_file
from segzoo.environment import most_pixels
from segzoo.errors import EnvironmentFault, SegzooError

# A JPEG with a second picture beside the first, as phones write it, opens as MPO. HEIF is there where its package is, and may be AVIF too.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "AVIF", "HEIF")
_IN_WORDS = "JPEG, PNG, WebP, TIFF, BMP, PPM, GIF, JPEG 2000, AVIF or HEIC"
_TILES = "cut it into tiles of at most {0}x{0} pixels"
_MOST_SCANS = 32  # of a JPEG: each scan, however short, goes over all pixels; most have 10
_MOST_PIECES = 1 << 16  # of a TIFF that is not compressed: Pillow takes them one by one
# Pixels that any file may have, and pixels that a larger picture may have for each byte of its file. JPEG 2000 may ask for small tiles and
# blocks, each of which takes memory: 733 bytes have filled 614 MB with 5 million pixels.
_ANY_FILE, _A_BYTE = 1 << 24, 256
_ANY_JPEG2000, _A_BYTE_OF_JPEG2000 = 1 << 20, 64


@contextmanager
def opened(given: Path | BinaryIO) -> Iterator[Any]:
    """An image by Pillow, its pixels not yet decoded. Raises EnvironmentFault, or within `reading` whatever becomes one there."""
    with _file_of(given) as file, _PILLOW:
        image = Image.open(file, formats=_known())
        pixels, most = image.width * image.height, most_pixels()
        if not pixels:
            raise Unfit(f"{image.width}x{image.height} pixels", _DAMAGED)
        if pixels > most:
            said = f"{image.width}x{image.height} are {pixels / 1e6:,.0f} million pixels, and at most {most / 1e6:,.0f} million are read"
            raise Unfit(said, f"{_TILES.format(8192)}; or set SEGZOO_MOST_PIXELS, each takes 7 bytes of memory or more")
        image.opened_from = file  # type: ignore[attr-defined]  # some plugins forget theirs once they have read it
        yield image


@contextmanager
def _file_of(given: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The open file: Pillow maps a file into memory if it gets its name, and a file that is cut while it is mapped ends the process."""
    if not isinstance(given, Path):
        yield given
        return
    with open_file(given) as file:
        yield file


class _Unasked:
    """While any thread reads a picture, Pillow's own limit of pixels is off, and what it warns of metadata that nobody reads.

    Both are settings of the whole process. The first thread that comes changes them, and the last one that goes puts them back.
    """

    def __init__(self) -> None:
        self.lock, self.threads = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            self.threads += 1
            if self.threads == 1:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self.warnings = warnings.catch_warnings()
                self.warnings.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.lock:
            self.threads -= 1
            if self.threads == 0:
                Image.MAX_IMAGE_PIXELS = self.limit
                self.warnings.__exit__(kind, error, trace)


_PILLOW = _Unasked()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python shows what Pillow logs in a program that logs nothing


def refuse_bomb(image: Any) -> None:
    """Raises Unfit for an image that would take much memory or time for the little that its file holds. To be asked before it is decoded.

    Drawings have up to 200 pixels for each byte of their file, and only what is nearly empty has more. Label maps may, and are not asked.
    """
    file: BinaryIO = image.opened_from
    before, pixels, length = file.tell(), image.width * image.height, file.seek(0, 2)
    least, each = (_ANY_JPEG2000, _A_BYTE_OF_JPEG2000) if image.format == "JPEG2000" else (_ANY_FILE, _A_BYTE)
    if pixels > max(least, each * length):
        said = f"{image.width}x{image.height} pixels in a file of only {length} bytes: it is empty, or made to fill the memory"
        raise Unfit(said, f"if it is a picture all the same, {_TILES.format(isqrt(least))}")
    if image.format == "TIFF":
        _refuse_pieces(image, max(pixels, _ANY_FILE))
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        file.seek(0)
        scans = sum(block.count(b"\xff\xda") for block in iter(lambda: file.read(1 << 20), b""))
        if scans > _MOST_SCANS:
            raise Unfit(f"a JPEG of {scans} scans, and at most {_MOST_SCANS} are read", "save it anew with the program that made it")
    file.seek(before)


def _refuse_pieces(image: Any, most: int) -> None:
    """Raises Unfit for a TIFF in too many tiles or strips, or in tiles of more pixels than these: libtiff makes room for a whole one."""
    width, height = (image.tag_v2.get(tag, 0) for tag in (322, 323))
    if width * height > most:
        raise Unfit(f"a TIFF of {image.width}x{image.height} pixels in tiles of {width}x{height}", _DAMAGED)
    if len(image.tile) > _MOST_PIECES:
        said = f"a TIFF in {len(image.tile)} pieces, and at most {_MOST_PIECES} are read"
        raise Unfit(said, "save it anew with larger strips or tiles, or compressed")


def more_than_one(image: Image.Image) -> str | None:
    """What is to be said of a file with several pictures, of which the first is read; None if there is nothing to say.

    The second picture of an MPO is a preview, and later ones of a TIFF are mostly the first one made smaller.
    """
    if image.format in ("MPO", "TIFF"):
        return None
    try:
        several = getattr(image, "is_animated", False)
    except Exception:  # the second picture is damaged, and nobody reads it
        several = True
    return "it has several pictures: only the first is read" if several else None


# what Pillow reads with a package of its own

_PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".avif": "pillow-avif-plugin"}
_BRANDS = {b"heic": ".heic", b"heix": ".heic", b"hevc": ".heic", b"mif1": ".heif", b"msf1": ".heif", b"avif": ".avif", b"avis": ".avif"}


@lru_cache(1)
def _known() -> tuple[str, ...]:
    """The formats of the list that Pillow reads here, with the packages that are installed for HEIC and AVIF."""
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    if find_spec("pillow_avif"):
        import_module("pillow_avif")
    Image.init()
    _silence_libtiff()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _silence_libtiff() -> None:
    """Keep libtiff from writing to stderr itself: what it says there of a damaged file, Pillow raises."""
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt"):
        with suppress(AttributeError):  # a Pillow without libtiff, or with one inside of itself
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def lacking_plugin(suffix: str) -> str | None:
    """What must be installed for Pillow to read files with this suffix; None if it reads them."""
    _known()
    return _PLUGINS.get(suffix) if suffix not in Image.registered_extensions() else None


# why a file cannot be read


class Unfit(ValueError):
    """A file that is no picture for a model, and why; it need not be damaged."""

    def __init__(self, why: str, hint: str):
        super().__init__(why)
        self.hint = hint


TO_EIGHT = "convert it to 8-bit RGB first: gdal_translate -ot Byte -scale, or the program that wrote it"
_DAMAGED = "it is damaged or no image: get it again from its source"


@contextmanager
def reading(path: Path, what: str = "image") -> Iterator[None]:
    """Raises EnvironmentFault for whatever Pillow and its decoders raise within: for a damaged file that may be any exception."""
    try:
        yield
    except SegzooError:
        raise
    except Exception as error:
        raise _unreadable(f"{path}: not a readable {what}", path, error) from error


def _unreadable(said: str, path: Path, error: Exception) -> EnvironmentFault:
    """The error for a file that is damaged, no image, or of a kind that nobody here reads; or that the system does not open."""
    if isinstance(error, OSError) and error.errno is not None:
        return EnvironmentFault(f"{said}: {error.strerror}")
    if isinstance(error, Unfit):
        return EnvironmentFault(f"{said}: {error}", error.hint)
    if isinstance(error, MemoryError):
        return EnvironmentFault(f"{said}: out of memory", "make it smaller, or cut it into pieces")
    head = _head_of(path)
    kind = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if kind and (plugin := lacking_plugin(kind)):
        return EnvironmentFault(f"{said}: {kind[1:].upper()} needs a package of its own", f"pip install {plugin}")
    if isinstance(error, (UnidentifiedImageError, ValueError)) and (facts := _facts_of_tiff(path, head)):
        return EnvironmentFault(f"{said}: a TIFF of {facts}, which Pillow does not read", TO_EIGHT)
    if not isinstance(error, UnidentifiedImageError):
        return EnvironmentFault(f"{said}: {error or type(error).__name__}", _DAMAGED)
    if other := _other_format(head):
        return EnvironmentFault(f"{said}: {other} inside, not {_IN_WORDS}", "save it as PNG with the program that made it")
    return EnvironmentFault(f"{said}: {'in no format that Pillow knows' if head else 'it is empty'}", _DAMAGED)


def _head_of(path: Path) -> bytes:
    """The first bytes of a file, none if it is gone by now."""
    try:
        with open_file(path) as file:
            return file.read(16)
    except OSError:
        return b""


def _other_format(head: bytes) -> str | None:
    """The format that a file begins like, of those that Pillow knows and the list does not have; None for none of them."""
    for name in sorted(Image.OPEN.keys() - set(_known())):
        with suppress(Exception):  # that a file has too few bytes to tell
            if (accept := Image.OPEN[name][1]) and accept(head) is True:
                return name
    return None


def _facts_of_tiff(path: Path, head: bytes) -> str | None:
    """Bands and bits of a TIFF by its tags; None if it is none, or cut off before or within its pixels."""
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        with open_file(path) as file, _PILLOW:
            tags = TiffImagePlugin.ImageFileDirectory_v2(head[: 16 if b"+" in head[:4] else 8])
            file.seek(tags.next)
            tags.load(file)
            length = file.seek(0, 2)
            bits, bands = tags.get(258, (1,)), tags.get(277, 1)
            starts, counts = ((273, 279), (324, 325))[324 in tags]
            if any(begin + count > length for begin, count in zip(tags[starts], tags[counts], strict=True)):
                return None
        return f"{bands} band{'s' * (bands != 1)} of {max(bits)} bits"
    except Exception:  # its tags are damaged too
        return None
