"""Which images and label maps belong to a split, in the folders of each data set as its publisher lays them out.

A label's `meaning` is a table of 256: for each value in the file the class, 255 for ignored.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from segzoo.datasets.listing import ABSENT, LackingFolder, ending, fault_of, folder_given, is_folder, listed, renaming, unreadable
from segzoo.errors import EnvironmentFault
from segzoo.miou import IGNORED
from segzoo.text import legible

AS_IT_IS = bytes(range(256))
# 0 is unlabelled and ignored, 1 is the first class (mmseg's `reduce_zero_label`).
FROM_ONE = bytes([IGNORED, *range(254), IGNORED])


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, its label map, and what the values there mean."""

    name: str
    image: Path
    label: Path
    meaning: bytes = field(default=FROM_ONE, repr=False)


def samples(loader: str, folder: Path, split: str, expected: int) -> tuple[Sample, ...]:
    """The pairs of a split, by name. Raises EnvironmentFault where images and labels do not pair up as expected, or are no files."""
    try:
        found = tuple(replace(sample, name=legible(sample.name)) for sample in LOADERS[loader](folder, split))
    except OSError as error:  # a folder that may be listed and not entered
        raise unreadable(Path(error.filename or folder), error) from error
    lacking = []
    for sample in found:
        for path in (sample.image, sample.label):
            if (fault := fault_of(path)) == ABSENT and path is sample.label:
                lacking.append(path)
            elif fault:
                raise EnvironmentFault(f"{path}: {fault}", hint=f"put the file itself there: whatever is called *{path.suffix} counts")
    if lacking:
        hint = renaming(dict.fromkeys(path.parent for path in lacking if path.parent.is_dir()), lacking[0].suffix)
        raise EnvironmentFault(f"labels are missing for {len(lacking)} of {len(found)} images, the first {lacking[0]}", hint)
    if len(found) != expected:
        other = renaming(dict.fromkeys(sample.image.parent for sample in found), found[0].image.suffix) if found else None
        hint = other or "the data set is not whole, or `images` in the manifest is wrong"
        raise EnvironmentFault(f"{folder}: expected {expected} images in '{split}', found {len(found)}", hint)
    names = [sample.name for sample in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EnvironmentFault(f"{folder}: two images in '{split}' are called {twice}", hint="counts are kept by name: rename one, or list it once")
    return found


def samples_in(data: Path, root: str, loader: str, split: str, expected: int) -> tuple[Path, tuple[Sample, ...]]:
    """The data set's folder and its pairs, where a user named the folder or the one that it is in, in which it is called `root`.

    Raises EnvironmentFault.
    """
    inner = data / root
    folder = inner if is_folder(inner) else folder_given(data)
    try:
        return folder, samples(loader, folder, split, expected)
    except LackingFolder as error:
        if folder == inner:
            raise
        raise LackingFolder(error.message, hint="; ".join(filter(None, [error.hint, f"there is no {inner} either"]))) from error


def ade20k(folder: Path, split: str) -> tuple[Sample, ...]:
    """SceneParse150 and what is laid out like it: images/SPLIT/*.jpg, annotations/SPLIT/*.png; 0 is unlabelled."""
    images, labels = _folders(folder / "images" / split, folder / "annotations" / split, layout="ADE20K's layout has images/ and annotations/")
    found = tuple(Sample(path.name, path, labels / f"{path.stem}.png") for path in ending(".jpg", images, [images]))
    if lonely := sorted({path.stem for path in listed(labels) if path.suffix == ".png"} - {sample.image.stem for sample in found}):
        raise EnvironmentFault(f"images are missing for {len(lonely)} labels, the first {labels / lonely[0]}.png", hint=renaming([images], ".jpg"))
    return found


def pascal_context(folder: Path, split: str, meaning: bytes = AS_IT_IS) -> tuple[Sample, ...]:
    """VOC2010 with the labels of Pascal Context, 60 classes: 0 is the background, a class as the others."""
    images, labels = _folders(
        folder / "JPEGImages", folder / "SegmentationClassContext", layout="VOC2010 has JPEGImages/ and, once prepared, SegmentationClassContext/"
    )
    names = _names(folder / "ImageSets" / "SegmentationContext" / f"{split}.txt")
    found = tuple(Sample(f"{name}.jpg", images / f"{name}.jpg", labels / f"{name}.png", meaning) for name in names)
    if lost := [sample.image for sample in found if fault_of(sample.image) == ABSENT]:
        raise EnvironmentFault(f"{len(lost)} images of {split}.txt are not there, the first {lost[0]}", hint=renaming([images], ".jpg"))
    return found


def _names(split: Path) -> list[str]:
    """The names that a list has, one a line, sorted."""
    if fault := fault_of(split):
        written = "MMSegmentation's tools/dataset_converters/pascal_context.py writes it, together with the labels"
        raise EnvironmentFault(f"{split}: the list of the split cannot be read: {fault}", hint=written if fault == ABSENT else None)
    try:
        names = sorted(line.strip() for line in split.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if line.strip())
    except OSError as error:
        raise unreadable(split, error) from error
    if outside := [name for name in names if Path(name).name != name or "\0" in name]:
        raise EnvironmentFault(f"{split}: expected names of images, found {outside[0]!r}")
    return names


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
    for image in ending("_leftImg8bit.png", images, [town for town in listed(images) if is_folder(town)]):
        stem = labels / image.parent.name / image.name.removesuffix("leftImg8bit.png")
        made, published = (stem.with_name(f"{stem.name}gtFine_{kind}.png") for kind in ("labelTrainIds", "labelIds"))
        found.append(Sample(image.name, image, made, AS_IT_IS) if made.is_file() else Sample(image.name, image, published, _FROM_IDS))
    return tuple(found)


def _folders(*parts: Path, layout: str) -> tuple[Path, ...]:
    for part in parts:
        listed(part, layout)
    return parts


LOADERS: Mapping[str, Callable[[Path, str], tuple[Sample, ...]]] = {
    "ade20k": ade20k,
    "pascal-context": pascal_context,
    "pascal-context-59": pascal_context_59,
    "cityscapes": cityscapes,
}


def digest(found: tuple[Sample, ...]) -> str:
    """SHA-256 over the names and contents of all images and labels: which data a figure was measured on. Raises EnvironmentFault."""
    whole = hashlib.sha256()
    for sample in found:
        for path in (sample.image, sample.label):
            try:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise unreadable(path, error) from error
            whole.update(f"{path.name} {content}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()
