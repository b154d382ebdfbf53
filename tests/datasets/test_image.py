"""Images as OpenCV has them: every format and mode that it and Pillow both open, against cv2 itself. And why others are not read."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from segzoo.datasets.image import pixels_of, read_image
from segzoo.datasets.picture_file import lacking_plugin
from segzoo.errors import EnvironmentFault

HEIGHT, WIDTH = 12, 16
RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
WORDS = RANDOM.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


def picture(mode):
    """Random pixels of a mode of Pillow's."""
    if mode == "1":
        return Image.fromarray(BYTES[..., 0] > 128)
    if mode == "P":
        return Image.fromarray(BYTES[..., :3]).convert("P")
    if mode == "I;16":
        return Image.fromarray(WORDS[..., 0])
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (WIDTH, HEIGHT), np.ascontiguousarray(BYTES[..., :bands]).tobytes())


# Read alike by cv2 4.11 and 5.0. Of what both open, two pairs are missing: JPEG 2000 in YCbCr, which only Pillow converts as its standard
# says, and a GIF with transparency, which cv2 4.11 does not read.
PAIRS = {
    "BMP": "1 L P RGB RGBA",
    "JPEG": "1 L RGB CMYK YCbCr RGBX",
    "JPEG2000": "I;16 L LA RGB RGBA",
    "PNG": "1 I;16 L LA P RGB RGBA",
    "PPM": "1 I;16 L RGB RGBA",
    "TIFF": "1 I;16 L LA P RGB RGBA RGBX CMYK YCbCr LAB",
    "TIFF tiff_lzw": "1 I;16 L LA P RGB RGBA RGBX CMYK YCbCr LAB",
    "TIFF jpeg": "L LA RGB RGBA RGBX CMYK YCbCr LAB",
    "WEBP": "1 I;16 L LA P RGB RGBA",
}


@pytest.mark.parametrize("form", PAIRS)
def test_every_format_and_mode_that_cv2_and_pillow_both_open(form, tmp_path):
    name, *compression = form.split()
    for mode in PAIRS[form].split():
        path = tmp_path / "image"
        picture(mode).save(path, name, **({"compression": compression[0]} if compression else {}))
        theirs = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(read_image(path), theirs[..., ::-1]), mode


def tiff(path, pixels, photometric, extra=(), form=1, white=None, apart=False):
    """An uncompressed TIFF of one strip, or of one for each band: written by hand, for Pillow writes few kinds."""
    height, width, bands = pixels.shape
    kind = pixels.dtype.newbyteorder("<")
    strips = [pixels[..., band].astype(kind).tobytes() for band in range(bands)] if apart else [pixels.astype(kind).tobytes()]
    body, begins = b"", []
    for strip in strips:
        begins.append(8 + len(body))
        body += strip
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [pixels.dtype.itemsize * 8] * bands),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", begins),
        277: ("H", [bands]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if apart else 1]),
        339: ("H", [form] * bands),
    }
    if extra:
        tags[338] = ("H", list(extra))
    if white:
        tags[318] = ("II", [number for value in white for number in (round(value * 10000), 10000)])
    entries = b""
    for tag, (letter, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{letter[0]}", *values)
        count = len(values) // len(letter)
        if len(packed) > 4:
            place, body = 8 + len(body), body + packed
            packed = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4, "II": 5}[letter], count) + packed.ljust(4, b"\0")
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


TIFFS = {
    "alpha not associated": (BYTES, 2, {"extra": (2,)}),
    "alpha associated": (BYTES, 2, {"extra": (1,)}),
    "a band that means nothing": (BYTES, 2, {"extra": (0,)}),
    "16 bits": (WORDS[..., :3], 2, {}),
    "16 bits, alpha not associated": (WORDS, 2, {"extra": (2,)}),
    "16 bits, alpha associated": (WORDS, 2, {"extra": (1,)}),
    "16 bits, a band that means nothing": (WORDS, 2, {"extra": (0,)}),
    "grey with alpha": (BYTES[..., :2], 1, {"extra": (2,)}),
    "grey with alpha associated": (BYTES[..., :2], 1, {"extra": (1,)}),
    "white is zero": (BYTES[..., :1], 0, {}),
    "white is zero, 16 bits": (WORDS[..., :1], 0, {}),
    "signed, 16 bits": (WORDS[..., :1].view(np.int16), 1, {"form": 2}),
    "CMYK": (BYTES, 5, {}),
    "L*a*b*": (BYTES[..., :3], 8, {}),
    "L*a*b* under another white": (BYTES[..., :3], 8, {"white": (0.3127, 0.3290)}),
    "bands apart": (BYTES[..., :3], 2, {"apart": True}),
    "bands apart, alpha not associated": (BYTES, 2, {"apart": True, "extra": (2,)}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_every_kind_of_tiff_is_as_cv2_reads_it(kind, tmp_path):
    pixels, photometric, more = TIFFS[kind]
    path = tiff(tmp_path / "a.tif", pixels, photometric, **more)
    assert np.array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def chunk(kind, data, check=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if check is None else check)


BESIDE = {
    "a large profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))),
    "a large text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2_000_000)),
    "a wrong checksum of a text": chunk(b"tEXt", b"Title\0what", 7),
    "a wrong checksum of a time": chunk(b"tIME", bytes(7), 7),
    "a wrong checksum of EXIF": chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 7),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_stands_beside_the_pixels_of_a_png_does_not_spoil_them(beside, after, tmp_path):
    path = tmp_path / "a.png"
    picture("RGB").save(path)
    plain = path.read_bytes()
    place = plain.index(b"IEND") - 4 if after and "profile" not in beside else 33
    path.write_bytes(plain[:place] + BESIDE[beside] + plain[place:])
    assert np.array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


def test_pillows_limit_of_pixels_is_not_ours(tmp_path, monkeypatch):
    """A picture of 179 megapixels takes seconds; what Pillow compares them with may be lowered instead."""
    picture("RGB").save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").shape == (HEIGHT, WIDTH, 3)
        assert pixels_of(tmp_path / "a.png") == HEIGHT * WIDTH
    assert Image.MAX_IMAGE_PIXELS == 20


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    picture("RGB").save(tmp_path / "a.png")
    plain = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(plain[:8] + chunk(b"IHDR", struct.pack(">II", 40000, 40000) + plain[24:29]) + plain[33:])
    with pytest.raises(EnvironmentFault, match="40000x40000 are 1,600 million pixels, and at most 268 million are read") as raised:
        read_image(tmp_path / "a.png")
    assert "cut it into tiles of at most 8192x8192 pixels" in raised.value.hint


REFUSED = {
    "floats": ((BYTES[..., :1].astype(np.float32), 1, {"form": 3}), "its values are floating-point numbers of 32 bits"),
    "floats in three bands": ((BYTES[..., :3].astype(np.float32), 2, {"form": 3}), "a TIFF of 3 bands of 32 bits, which Pillow does not read"),
    "32 bits": ((BYTES[..., :1].astype(np.uint32), 1, {}), "its values have 32 bits"),
    "12 bands": ((np.tile(BYTES, 3), 1, {"extra": (0,) * 11}), "a TIFF of 12 bands of 8 bits, which Pillow does not read"),
    "16 bits, bands apart": ((WORDS[..., :3], 2, {"apart": True}), "its 3 bands of 16 bits lie one after the other, which Pillow reads wrongly"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_sound_file_that_is_not_read_is_not_said_to_be_damaged(kind, tmp_path):
    (pixels, photometric, more), said = REFUSED[kind]
    path = tiff(tmp_path / "a.tif", pixels, photometric, **more)
    with pytest.raises(EnvironmentFault) as raised:
        read_image(path)
    assert said in raised.value.message
    assert raised.value.hint.startswith("convert it to 8-bit RGB first")


@pytest.mark.skipif(lacking_plugin(".heic") is None, reason="Pillow reads HEIC here")
@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_an_image_that_needs_a_package_names_it(brand, tmp_path):
    (tmp_path / "a.jpg").write_bytes(struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + b"mif1heic" + bytes(100))
    with pytest.raises(EnvironmentFault, match="needs a package of its own") as raised:
        read_image(tmp_path / "a.jpg")
    assert raised.value.hint == "pip install pillow-heif"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_a_file_cut_short_is_damaged(form, tmp_path):
    path = tmp_path / "image"
    picture("RGB").resize((90, 90)).save(path, form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(EnvironmentFault, match="not a readable image") as raised:
        read_image(path)
    assert raised.value.hint == "it is damaged or no image: get it again from its source"


def test_a_png_whose_pixels_have_a_wrong_checksum_is_damaged(tmp_path):
    path = tmp_path / "a.png"
    picture("RGB").save(path)
    plain = bytearray(path.read_bytes())
    plain[plain.index(b"IDAT") + 20] ^= 1
    path.write_bytes(plain)
    with pytest.raises(EnvironmentFault) as raised:
        read_image(path)
    assert "damaged" in raised.value.hint
