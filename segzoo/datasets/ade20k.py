"""ADE20K's folder layout (SceneParse150) and label rule, for ADE20K itself and any set laid out like it.

`images/SPLIT/*.jpg` and `annotations/SPLIT/*.png`; label 0 is unlabelled, 1..K are the classes. As
mmseg 1.2.2's ADE20KDataset with `reduce_zero_label`: 0 becomes 255 (ignored), every other value minus 1.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segzoo.errors import EnvironmentFault
from segzoo.miou import IGNORED


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and its label map on disk."""

    name: str
    image: Path
    label: Path


def samples(folder: Path, split: str, expected: int) -> tuple[Sample, ...]:
    """The pairs of a split, by name. Raises EnvironmentFault where images and labels do not pair up as expected."""
    images, labels = folder / "images" / split, folder / "annotations" / split
    for part in (images, labels):
        if not part.is_dir():
            raise EnvironmentFault(
                f"{part}: no such folder", hint="a data set in ADE20K's layout has images/ and annotations/ with a folder per split"
            )
    found = tuple(Sample(path.name, path, labels / f"{path.stem}.png") for path in sorted(images.glob("*.jpg")))
    if lacking := [sample.label for sample in found if not sample.label.is_file()]:
        raise EnvironmentFault(f"{len(lacking)} images have no label, the first {lacking[0]}")
    if lonely := sorted({path.stem for path in labels.glob("*.png")} - {sample.image.stem for sample in found}):
        raise EnvironmentFault(f"{len(lonely)} labels have no image, the first {labels / lonely[0]}.png")
    if len(found) != expected:
        raise EnvironmentFault(f"{images}: expected {expected} images, found {len(found)}", hint="the data set is not whole; unpack it again")
    return found


def digest(found: tuple[Sample, ...]) -> str:
    """SHA-256 over the names and contents of all images and labels: which data a figure was measured on."""
    whole = hashlib.sha256()
    for sample in found:
        for path in (sample.image, sample.label):
            whole.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (h, w, 3), turned as its EXIF orientation says, as cv2's colour flag does."""
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise EnvironmentFault(f"{path}: not a readable image: {error}") from error


def read_label(path: Path) -> np.ndarray:
    """Class indices uint8 (h, w); 255 is ignored. Labels are never turned or resized."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise EnvironmentFault(f"{path}: expected 8-bit class indices, found a PNG of mode {image.mode}")
            raw = np.array(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise EnvironmentFault(f"{path}: not a readable label map: {error}") from error
    return np.where(raw == 0, IGNORED, np.where(raw == IGNORED, IGNORED, raw - 1)).astype(np.uint8)
