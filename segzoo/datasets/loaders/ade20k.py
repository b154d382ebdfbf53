"""SceneParse150, and whatever is laid out like it."""

from pathlib import Path

from segzoo.datasets.listing import ending, folders, listed, renaming
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault


def ade20k(folder: Path, split: str) -> tuple[Sample, ...]:
    """SceneParse150 and what is laid out like it: images/SPLIT/*.jpg, annotations/SPLIT/*.png; 0 is unlabelled."""
    images, labels = folders(folder / "images" / split, folder / "annotations" / split, layout="ADE20K's layout has images/ and annotations/")
    found = tuple(Sample(path.name, path, labels / f"{path.stem}.png") for path in ending(".jpg", images, [images]))
    if lonely := sorted({path.stem for path in listed(labels) if path.suffix == ".png"} - {sample.image.stem for sample in found}):
        raise EnvironmentFault(f"images are missing for {len(lonely)} labels, the first {labels / lonely[0]}.png", hint=renaming([images], ".jpg"))
    return found
