"""What the values in label maps mean: as they are stored, by value or by colour, in 1 to 16 bits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segzoo.datasets.decode import read_label
from segzoo.datasets.sample import AS_IT_IS, FROM_ONE, Meaning, Sample, ignored, keyed
from segzoo.errors import EnvironmentFault


def png(values, bits, kind=0, palette=b""):
    """A PNG by hand, after its specification: grey (kind 0) or palette indices (kind 3) of so many bits."""
    height, width = values.shape
    padded = np.pad(values.astype(np.int64), ((0, 0), (0, -width % max(8 // bits, 1))))
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in padded]
    else:
        each = padded.reshape(height, -1, 8 // bits)
        rows = [sum(row[:, i] << (8 - bits * (i + 1)) for i in range(8 // bits)).astype(np.uint8).tobytes() for row in each]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + (chunk(b"PLTE", palette) if palette else b"") + body + chunk(b"IEND", b"")


def read(path, meaning, classes):
    return read_label(Sample(path.name, path, path, meaning), classes).tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_values_of_few_bits_are_not_scaled(bits, tmp_path):
    values = np.arange(2 ** min(bits, 5)).repeat(3)[None]
    (tmp_path / "a.png").write_bytes(png(values, bits))
    assert read(tmp_path / "a.png", AS_IT_IS, 32) == values.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_indices_of_few_bits_are_indices(bits, tmp_path):
    values = np.arange(2 ** min(bits, 5))[None, ::-1]
    (tmp_path / "a.png").write_bytes(png(values, bits, 3, bytes(range(3 * 2 ** min(bits, 5)))))
    assert read(tmp_path / "a.png", AS_IT_IS, 32) == values.tolist()


def tiff(values, bits):
    """An uncompressed TIFF by hand: grey, black is zero."""
    packed = np.packbits(np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., -bits:].reshape(len(values), -1), axis=1)
    entries = [(256, 3, values.shape[1]), (257, 3, len(values)), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 3, len(values)), (279, 4, packed.size)]
    table = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in entries)
    body = packed.tobytes() + b"\0" * (packed.size % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(entries)) + table + b"\0\0\0\0"


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_tiff_of_few_bits_is_not_scaled(bits, tmp_path):
    values = np.arange(8).reshape(1, 8).repeat(2, 0) % 2**bits
    (tmp_path / "a.tif").write_bytes(tiff(values, bits))
    assert read(tmp_path / "a.tif", AS_IT_IS, 32) == values.tolist()


@pytest.mark.parametrize("most", [7, 255, 1000, 65535])
@pytest.mark.parametrize("plain", [True, False])
def test_a_pgm_is_not_scaled_to_the_largest_value_that_it_states(most, plain, tmp_path):
    head = f"P{2 if plain else 5}\n4 1\n{most}\n".encode()
    body = b"0 1 6 7\n" if plain else np.array([0, 1, 6, 7], np.uint8 if most < 256 else ">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(head + body)
    assert read(tmp_path / "a.pgm", AS_IT_IS, 8) == [[0, 1, 6, 7]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_values_of_16_bits(suffix, tmp_path):
    values = np.array([[0, 1, 254, 255, 256, 299, 300]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert ignored(300) == 65535
    assert read(tmp_path / f"a.{suffix}", FROM_ONE, 300) == [[65535, 0, 253, 254, 255, 298, 299]]  # 255 is a class here
    with pytest.raises(EnvironmentFault, match="labels 300 in 1 pixels, but the data set has 300 classes"):
        read(tmp_path / f"a.{suffix}", AS_IT_IS, 300)
    rule = Meaning(ignore=frozenset({300}))
    assert read(tmp_path / f"a.{suffix}", rule, 300) == [[0, 1, 254, 255, 256, 299, 65535]]
    with pytest.raises(EnvironmentFault, match="labels 254, 256, 299, 300 in 4 pixels"):
        read(tmp_path / f"a.{suffix}", AS_IT_IS, 254)


def test_values_beyond_16_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(EnvironmentFault, match="values from 0 to 70000; class indices go from 0 to 65535"):
        read(tmp_path / "a.tif", AS_IT_IS, 8)


def test_values_by_a_list(tmp_path):
    Image.fromarray(np.array([[0, 255, 7, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", keyed([(0, 0), (255, 1)], [7]), 2) == [[0, 1, 255, 1]]
    with pytest.raises(EnvironmentFault, match="labels 7 in 1 pixels"):
        read(tmp_path / "a.png", keyed([(0, 0), (255, 1)]), 2)


def test_255_without_a_word_is_refused_and_the_word_is_told(tmp_path):
    Image.fromarray(np.array([[1, 255]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match="labels 255 in 1 pixels") as raised:
        read(tmp_path / "a.png", Meaning(first=1, ignore=frozenset({0})), 8)
    assert "add it to `ignore`" in raised.value.hint


COLOURS = keyed([(0xFF0000, 0), (0x00FF01, 1), (0x000000, 2)], [0xFFFFFF])
BY_COLOUR = Meaning(ignore=COLOURS.ignore, keyed=COLOURS.keyed, coloured=True)
PIXELS = np.array([[[255, 0, 0], [0, 255, 1], [0, 0, 0], [255, 255, 255]]], np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_colours_are_classes(mode, suffix, tmp_path):
    if (mode, suffix) == ("RGBA", "bmp"):
        pytest.skip("Pillow writes it as RGB")
    image = Image.fromarray(PIXELS)
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(tmp_path / f"a.{suffix}")
    assert read(tmp_path / f"a.{suffix}", BY_COLOUR, 3) == [[0, 1, 2, 255]]


def test_every_pixel_finds_its_colour(tmp_path):
    """With runs of any length, also across rows, against one look at each pixel."""
    random = np.random.default_rng(0)
    colours = np.unique(random.integers(0, 256, (150, 3)), axis=0).astype(np.uint8)
    expected = random.integers(0, len(colours), 400).repeat(random.integers(1, 9, 400))[:1200].reshape(30, 40)
    Image.fromarray(colours[expected]).save(tmp_path / "a.png")
    pairs = [(int(red) << 16 | int(green) << 8 | int(blue), index) for index, (red, green, blue) in enumerate(colours)]
    assert read(tmp_path / "a.png", Meaning(keyed=tuple(pairs[::-1]), coloured=True), len(colours)) == expected.tolist()


def test_colours_that_mean_nothing_are_named(tmp_path):
    strange = np.array([[[1, 2, 3], [255, 0, 1], [1, 2, 3], [255, 0, 0]]], np.uint8)
    Image.fromarray(np.concatenate([PIXELS, strange])).save(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match="colours #010203, #ff0001 in 3 pixels, but the data set has 3 classes"):
        read(tmp_path / "a.png", BY_COLOUR, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F", "CMYK"])
def test_what_holds_no_indices_is_refused(mode, tmp_path):
    Image.new(mode, (2, 2)).save(tmp_path / "a.tif")
    with pytest.raises(EnvironmentFault, match=f"expected class indices of at most 16 bits, found an image of mode {mode}") as raised:
        read(tmp_path / "a.tif", AS_IT_IS, 8)
    assert ("colours: true" in raised.value.hint) is mode.startswith("RGB")


def test_transparent_pixels_have_no_colour(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 127)).save(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match="some of its pixels are transparent"):
        read(tmp_path / "a.png", BY_COLOUR, 3)


def test_a_label_map_in_jpeg_is_refused(tmp_path):
    held = io.BytesIO()
    Image.new("L", (8, 8)).save(held, "JPEG")
    (tmp_path / "a.png").write_bytes(held.getvalue())  # whatever its name says
    with pytest.raises(EnvironmentFault, match="a label map in JPEG, which changes the values"):
        read(tmp_path / "a.png", AS_IT_IS, 8)
