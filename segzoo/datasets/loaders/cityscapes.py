"""Cityscapes, with labels by train id or by the published ids."""

from pathlib import Path

from segzoo.datasets.listing import expected_folders, images_ending, is_folder, listed
from segzoo.datasets.sample import AS_IT_IS, Sample, keyed

# The 19 classes that count, by the ids that the annotators used (cityscapesScripts, `helpers/labels.py`).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain"),
    *("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
_FROM_IDS = keyed(((value, index) for index, value in enumerate(CITYSCAPES_IDS)), set(range(256)) - set(CITYSCAPES_IDS))


def cityscapes(folder: Path, split: str) -> tuple[Sample, ...]:
    """leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY; labels by train id where such files were made, else by the published ids."""
    images, labels = expected_folders(folder / "leftImg8bit" / split, folder / "gtFine" / split, hint="Cityscapes has leftImg8bit/ and gtFine/")
    found = []
    for image in images_ending("_leftImg8bit.png", images, [town for town in listed(images) if is_folder(town)]):
        stem = labels / image.parent.name / image.name.removesuffix("leftImg8bit.png")
        made, published = (stem.with_name(f"{stem.name}gtFine_{kind}.png") for kind in ("labelTrainIds", "labelIds"))
        found.append(Sample(image.name, image, made, AS_IT_IS) if made.is_file() else Sample(image.name, image, published, _FROM_IDS))
    return tuple(found)
