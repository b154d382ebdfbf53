"""Which images and label maps belong to a split, in the folders of each data set as its publisher lays them out.

A label's `meaning` is a table of 256: for each value in the file the class, 255 for ignored.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segzoo.errors import EnvironmentFault
from segzoo.miou import IGNORED

AS_IT_IS = bytes(range(256))
# 0 is unlabelled and ignored, 1 is the first class (mmseg's `reduce_zero_label`).
FROM_ONE = bytes([IGNORED, *range(254), IGNORED])
_SHOWN = "[!.]*"  # macOS lays a hidden ._NAME beside a NAME that it copies to another disk


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, its label map, and what the values there mean."""

    name: str
    image: Path
    label: Path
    meaning: bytes = field(default=FROM_ONE, repr=False)


def samples(loader: str, folder: Path, split: str, expected: int) -> tuple[Sample, ...]:
    """The pairs of a split, by name. Raises EnvironmentFault where images and labels do not pair up as expected."""
    found = LOADERS[loader](folder, split)
    if lacking := [sample.label for sample in found if not sample.label.is_file()]:
        raise EnvironmentFault(f"labels are missing for {len(lacking)} of {len(found)} images, the first {lacking[0]}")
    if len(found) != expected:
        hint = "the data set is not whole, or `images` in the manifest is wrong"
        raise EnvironmentFault(f"{folder}: expected {expected} images in '{split}', found {len(found)}", hint)
    return found


def ade20k(folder: Path, split: str) -> tuple[Sample, ...]:
    """SceneParse150 and what is laid out like it: images/SPLIT/*.jpg, annotations/SPLIT/*.png; 0 is unlabelled."""
    images, labels = _folders(folder / "images" / split, folder / "annotations" / split, layout="ADE20K's layout has images/ and annotations/")
    found = tuple(Sample(path.name, path, labels / f"{path.stem}.png") for path in sorted(images.glob(f"{_SHOWN}.jpg")))
    if lonely := sorted({path.stem for path in labels.glob(f"{_SHOWN}.png")} - {sample.image.stem for sample in found}):
        raise EnvironmentFault(f"images are missing for {len(lonely)} labels, the first {labels / lonely[0]}.png")
    return found


def pascal_context(folder: Path, split: str, meaning: bytes = AS_IT_IS) -> tuple[Sample, ...]:
    """VOC2010 with the labels of Pascal Context, 60 classes: 0 is the background, a class as the others."""
    images, labels = _folders(
        folder / "JPEGImages", folder / "SegmentationClassContext", layout="VOC2010 has JPEGImages/ and, once prepared, SegmentationClassContext/"
    )
    listed = folder / "ImageSets" / "SegmentationContext" / f"{split}.txt"
    try:
        names = sorted(line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFault(f"{listed}: the list of the split cannot be read: {error}") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise EnvironmentFault(f"{listed}: expected names of images, found {outside[0]!r}")
    found = tuple(Sample(f"{name}.jpg", images / f"{name}.jpg", labels / f"{name}.png", meaning) for name in names)
    if lost := [sample.image for sample in found if not sample.image.is_file()]:
        raise EnvironmentFault(f"{len(lost)} images of {listed.name} are not there, the first {lost[0]}")
    return found


def pascal_context_59(folder: Path, split: str) -> tuple[Sample, ...]:
    """The same without the background, which is ignored."""
    return pascal_context(folder, split, FROM_ONE)


# The 19 classes that count, by the ids that the annotators used (cityscapesScripts, `helpers/labels.py`).
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_FROM_IDS = bytes(_CITYSCAPES_IDS.index(value) if value in _CITYSCAPES_IDS else IGNORED for value in range(256))


def cityscapes(folder: Path, split: str) -> tuple[Sample, ...]:
    """leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY; labels by train id where those were made, else by the ids that are published."""
    images, labels = _folders(folder / "leftImg8bit" / split, folder / "gtFine" / split, layout="Cityscapes has leftImg8bit/ and gtFine/")
    found = []
    for image in sorted(images.glob(f"*/{_SHOWN}_leftImg8bit.png")):
        stem = labels / image.parent.name / image.name.removesuffix("leftImg8bit.png")
        made, published = (stem.with_name(f"{stem.name}gtFine_{kind}.png") for kind in ("labelTrainIds", "labelIds"))
        found.append(Sample(image.name, image, made, AS_IT_IS) if made.is_file() else Sample(image.name, image, published, _FROM_IDS))
    return tuple(found)


def _folders(*parts: Path, layout: str) -> tuple[Path, ...]:
    for part in parts:
        if not part.is_dir():
            raise EnvironmentFault(f"{part}: no such folder", hint=layout)
    return parts


LOADERS: Mapping[str, Callable[[Path, str], tuple[Sample, ...]]] = {
    "ade20k": ade20k,
    "pascal-context": pascal_context,
    "pascal-context-59": pascal_context_59,
    "cityscapes": cityscapes,
}


def digest(found: tuple[Sample, ...]) -> str:
    """SHA-256 over the names and contents of all images and labels: which data a figure was measured on."""
    whole = hashlib.sha256()
    for sample in found:
        for path in (sample.image, sample.label):
            whole.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()
