"""Pictures and label maps of strangers in every format that is read, and the lists that name them."""

import io
from pathlib import Path

import numpy as np
from harness import Target
from PIL import Image, features

from segzoo.datasets.arrangement import arranged
from segzoo.datasets.decode import read_values
from segzoo.datasets.image import pixels_of, read_image
from segzoo.datasets.loaders import loader
from segzoo.datasets.sample import Meaning, Sample
from segzoo.errors import EnvironmentFault

_VALUES = np.random.default_rng(0).integers(0, 256, (9, 11, 4), np.uint8)
_EXIF = Image.Exif()
_EXIF[0x0112] = 6
_EXIF.get_ifd(0x8769)[0x9286] = b"what the camera says"


def _of(mode: str) -> Image.Image:
    if mode == "1":
        return Image.fromarray(_VALUES[..., 0] > 128)
    if mode == "P":
        return Image.fromarray(_VALUES[..., :3]).convert("P")
    if mode == "I;16":
        return Image.fromarray(_VALUES[..., :2].copy().view(np.uint16)[..., 0])
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (11, 9), np.ascontiguousarray(_VALUES[..., :bands]).tobytes())


def _seeds(form: str, modes: str, *ways: dict[str, object]) -> list[bytes]:
    """A picture of each mode, saved in each way."""
    found = []
    for mode in modes.split():
        for way in ways or ({},):
            file = io.BytesIO()
            more = {"append_images": [_of(mode).rotate(180)] * 2} if "save_all" in way else {}
            _of(mode).save(file, form, **way, **more)
            found.append(file.getvalue())
    return found


_SEVERAL = {"save_all": True}
_TIFF = [{"compression": one} for one in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")]
_FORMS = {
    "jpeg": lambda: [*_seeds("JPEG", "L RGB CMYK", {"exif": _EXIF}, {"progressive": True}), *_seeds("MPO", "RGB", _SEVERAL)],
    "png": lambda: [*_seeds("PNG", "1 L LA P RGB RGBA I;16", {"exif": _EXIF}), *_seeds("PNG", "P", {"bits": 2}), *_seeds("PNG", "L", _SEVERAL)],
    "webp": lambda: _seeds("WEBP", "RGB RGBA", {"lossless": True, "exif": _EXIF}, _SEVERAL),
    "tiff": lambda: [
        *_seeds("TIFF", "1 L LA P RGB RGBA CMYK YCbCr LAB I;16", *_TIFF),
        *_seeds("TIFF", "L RGB", {"compression": "jpeg"}, _SEVERAL, {"big_tiff": True}),
        *_seeds("TIFF", "1", {"compression": "group4"}),
    ],
    "bmp": lambda: _seeds("BMP", "1 L P RGB RGBA"),
    "ppm": lambda: [*_seeds("PPM", "1 L RGB I;16"), b"P2 3 1 7 0 3 7\n", b"P3 # seen\n1 1 255 1 2 3\n"],
    "gif": lambda: _seeds("GIF", "L P", {}, _SEVERAL),
    "jpeg2000": lambda: _seeds("JPEG2000", "L RGB RGBA", {}, {"no_jp2": True}) if features.check("jpg_2000") else [],
    "avif": lambda: _seeds("AVIF", "RGB RGBA", {"speed": 10, "exif": _EXIF}) if features.check("avif") else [],
}


def _image(path: Path) -> None:
    """Read a picture in the ways that a model and a data set ask for; at least one must know it."""
    pixels_of(path)
    first = None
    for channels in (3, 4, 1):
        try:
            read_image(path, channels)
            return
        except EnvironmentFault as error:
            first = first or error
    raise first or AssertionError


def _label(path: Path) -> None:
    for coloured in (False, True):
        try:
            read_values(Sample("a", path, path, Meaning(coloured=coloured)))
            return
        except EnvironmentFault as error:
            first = error
    raise first


def _list(path: Path) -> None:
    """Load a split by its list, with the images that a good list names; and see how the folder is arranged."""
    for folder, picture in _PAIR.items():
        (path.parent / folder).mkdir()
        for name in "abc":
            (path.parent / folder / f"{name}.png").write_bytes(picture)
    found = loader("folders", {"images": "images", "labels": "labels", "list": path.name})(path.parent, "val")
    assert all(sample.image.resolve().is_relative_to(path.parent.resolve()) for sample in found)
    arranged(path.parent)


_PAIR = {"images": _seeds("PNG", "RGB")[0], "labels": _seeds("PNG", "1")[0]}


def _labels() -> list[bytes]:
    return [*_seeds("PNG", "1 L P RGB I;16"), *_seeds("PNG", "P", {"bits": 1}, {"bits": 4, "transparency": 0})]


TARGETS = [
    *(Target(f"image-{form}", seeds, _image, name="photo.jpg", share=0.5) for form, seeds in _FORMS.items() if seeds()),
    Target("label-png", _labels, _label, share=0.5),
    Target("label-tiff", lambda: _seeds("TIFF", "1 L P RGB I;16", *_TIFF[:2]), _label, share=0.5),
    Target("list-of-a-split", lambda: [b"a\nb.png\nc\n", b"\xef\xbb\xbfb\r\na\r\n"], _list, name="val.txt", share=0.2),
]
