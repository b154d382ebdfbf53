"""SceneParse150, and data sets with the same folders."""

from pathlib import Path

from segzoo.datasets.listing import expected_folders, images_ending, listed, rename_hint
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault


def ade20k(folder: Path, split: str) -> tuple[Sample, ...]:
    """images/SPLIT/*.jpg and annotations/SPLIT/*.png; 0 is unlabelled."""
    images, labels = expected_folders(folder / "images" / split, folder / "annotations" / split, hint="ADE20K's layout has images/ and annotations/")
    found = tuple(Sample(path.name, path, labels / f"{path.stem}.png") for path in images_ending(".jpg", images, [images]))
    if lonely := sorted({path.stem for path in listed(labels) if path.suffix == ".png"} - {sample.image.stem for sample in found}):
        raise EnvironmentFault(f"images are missing for {len(lonely)} labels, the first {labels / lonely[0]}.png", hint=rename_hint([images], ".jpg"))
    return found
