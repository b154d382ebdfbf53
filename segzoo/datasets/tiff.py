"""The colours of a TIFF as OpenCV has them: those of libtiff's RGBA interface (`tif_getimage.c`, `tif_color.c`).

Alpha that is not associated is multiplied in, 16 bits are rounded to 8, and CMYK, YCbCr and L*a*b* are converted by libtiff's formulas.
Pillow decodes the file, but its own conversions are others.
"""

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from PIL import Image

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _EXTRA, _WHITE, _FORMAT = 258, 259, 262, 284, 338, 318, 339
_ASSOCIATED, _UNASSOCIATED = 1, 2
_SIGNED, _FLOATING = 2, 3


def as_stored(image: Image.Image) -> None:
    """Ask Pillow not to divide colours by alpha, before the image is loaded."""
    image.tile = [one._replace(args=(one.args[0].replace("RGBa", "RGBA"), *one.args[1:])) for one in image.tile]  # type: ignore[attr-defined]


def has_low_bytes(image: Image.Image) -> bool:
    """Whether an image, not yet loaded, has colours of sixteen bits. Pillow gives the upper eight of them."""
    modes = {one.args[0] for one in image.tile}  # type: ignore[attr-defined]
    return all(";16" in mode and mode.startswith("RGB") for mode in modes) and image.tag_v2.get(_PLANES) != 2  # type: ignore[attr-defined]


def low_bytes(image: Image.Image) -> None:
    """Ask Pillow for the lower eight bits of sixteen, before the image is loaded."""
    native = "L" if sys.byteorder == "little" else "B"
    other = {"L": "B", "B": "L"}

    def swapped(mode: str) -> str:
        order = mode[-1] if mode[-1] in other else native
        return mode[:-1] + other[order]

    image.tile = [one._replace(args=(swapped(one.args[0]), *one.args[1:])) for one in image.tile]  # type: ignore[attr-defined]


def unreadable(tags: Mapping[int, object]) -> str | None:
    """Why a TIFF whose pixels Pillow decodes has no colours all the same; None if it has."""
    bits, form = (tuple(value) if isinstance(value := tags.get(tag, 1), tuple) else (value,) for tag in (_BITS, _FORMAT))
    if _FLOATING in form:
        return f"its values are floating-point numbers of {bits[0]} bits"
    if max(bits) > 16:
        return f"its values have {bits[0]} bits"
    extra, raw = tags.get(_EXTRA, ()), tags.get(_COMPRESSION, 1) == 1
    wrongly = (raw or any(extra)) if max(bits) == 16 else _ASSOCIATED in extra  # type: ignore[operator,arg-type]
    if len(bits) > 1 and tags.get(_PLANES) == 2 and wrongly:
        return f"its {len(bits)} bands of {bits[0]} bits lie one after the other, which Pillow reads wrongly"
    return None


def converter(image: Image.Image) -> Callable[[np.ndarray], np.ndarray] | None:
    """What makes RGB uint8 (h, w, 3), or (h, w, 1), of rows of a decoded TIFF as numpy has them; None where Pillow's way is libtiff's."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if image.mode == "RGBA" and tags.get(_EXTRA, (0,))[0] == _UNASSOCIATED:
        return _multiplied
    if image.mode == "LAB":
        white = tags.get(_WHITE)
        return lambda rows: _from_lab(rows, tuple(map(float, white)) if white else _D50)
    if image.mode == "I;16" and tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow minds in eight bits only
        return lambda rows: (255 - (rows >> 8)).astype(np.uint8)[..., None]
    return _BY_MODE.get(image.mode)


def rounded(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Sixteen bits as eight."""
    return ((high.astype(np.uint32) * 256 + low + 128) // 257).astype(np.uint8)


def _multiplied(rows: np.ndarray) -> np.ndarray:
    return ((rows[..., :3].astype(np.uint16) * rows[..., 3:] + 127) // 255).astype(np.uint8)


def _from_cmyk(rows: np.ndarray) -> np.ndarray:
    left = 255 - rows.astype(np.uint16)
    return (left[..., 3:] * left[..., :3] // 255).astype(np.uint8)


def _from_ycbcr(rows: np.ndarray) -> np.ndarray:
    """By the coefficients of ITU-R BT.601 in 16-bit fixed point."""
    y, cb, cr = (rows[..., channel].astype(np.int32) - (128 if channel else 0) for channel in range(3))
    half, fixed = 1 << 15, [int(value * 65536 + 0.5) for value in (1.402, 0.299 * 1.402 / 0.587, 1.772, 0.114 * 1.772 / 0.587)]
    red = y + (fixed[0] * cr + half >> 16)
    green = y + (-fixed[3] * cb + half - fixed[1] * cr >> 16)
    blue = y + (fixed[2] * cb + half >> 16)
    return np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8)


_BY_MODE: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"CMYK": _from_cmyk, "YCbCr": _from_ycbcr}

_D50 = (96.4250 / 278.893, 100.0 / 278.893)  # x and y of the white that a file without one has
_TO_RGB = np.array([[3.2410, -1.5374, -0.4986], [-0.9692, 1.8760, 0.0416], [0.0556, -0.2040, 1.0570]], np.float32)
_STEPS = 1500  # of the table that turns light into values


def _from_lab(rows: np.ndarray, white: tuple[float, ...]) -> np.ndarray:
    """From L*a*b* by way of XYZ, in single precision; `white` is x and y of the white point."""
    one = np.float32
    x, y = map(one, white)
    white_x, white_z = x / y * one(100), (one(1) - x - y) / y * one(100)
    lightness = rows[..., 0].astype(one) * one(257) * one(100) / one(65535)
    a, b = (rows[..., channel].view(np.int8).astype(one) for channel in (1, 2))
    low = lightness < one(8.856)
    dark = lightness * one(100) / one(903.292)
    cube = np.where(low, one(7.787) * (dark / one(100)) + one(16 / 116), (lightness + one(16)) / one(116))
    light_y = np.where(low, dark, one(100) * cube * cube * cube)
    light_x, light_z = (_light(cube + a / one(500), white_x), _light(cube - b / one(200), white_z))
    light = [row[0] * light_x + row[1] * light_y + row[2] * light_z for row in _TO_RGB]
    table, step = _table(), one(99) / one(_STEPS)
    return np.stack([table[((each.clip(1, 100) - one(1)) / step).astype(np.int32)] for each in light], -1)


def _light(root: np.ndarray, white: np.float32) -> np.ndarray:
    one = np.float32
    return np.where(root < one(0.2069), white * (root - one(0.13793)) / one(7.787), white * root * root * root)


@lru_cache(1)
def _table() -> np.ndarray:
    """The value of each step of light on a screen whose gamma is 2.4, uint8."""
    values = np.float32(255) * ((np.arange(_STEPS + 1) / _STEPS) ** (1 / 2.4)).astype(np.float32)
    return np.floor(values.astype(np.float64) + 0.5).clip(0, 255).astype(np.uint8)
