"""Images and their label maps on disk, in ADE20K's folder layout: `images/SPLIT/*.jpg` and `annotations/SPLIT/*.png`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import EnvironmentFault


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
