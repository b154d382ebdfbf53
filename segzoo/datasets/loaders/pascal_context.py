"""Pascal Context, with and without its background."""

from pathlib import Path

from segzoo.datasets.listing import ABSENT, expected_folders, fault_of, lines_of, rename_hint
from segzoo.datasets.sample import AS_IT_IS, IGNORED, Meaning, Sample
from segzoo.errors import EnvironmentFault

_WITHOUT_BACKGROUND = Meaning(first=1, ignore=frozenset({0, IGNORED}))


def pascal_context(folder: Path, split: str, meaning: Meaning = AS_IT_IS) -> tuple[Sample, ...]:
    """VOC2010 with the labels of Pascal Context, 60 classes: 0 is the background, a class like the others."""
    images, labels = expected_folders(
        folder / "JPEGImages", folder / "SegmentationClassContext", hint="VOC2010 has JPEGImages/ and, once prepared, SegmentationClassContext/"
    )
    names = _names(folder / "ImageSets" / "SegmentationContext" / f"{split}.txt")
    found = tuple(Sample(f"{name}.jpg", images / f"{name}.jpg", labels / f"{name}.png", meaning) for name in names)
    if lost := [sample.image for sample in found if fault_of(sample.image) == ABSENT]:
        raise EnvironmentFault(f"{len(lost)} images of {split}.txt are not there, the first {lost[0]}", hint=rename_hint([images], ".jpg"))
    return found


def _names(split: Path) -> list[str]:
    """The names in a list, one on each line, sorted."""
    written = "MMSegmentation's tools/dataset_converters/pascal_context.py writes it, together with the labels"
    names = sorted(lines_of(split, "the list of the split", written))
    if outside := [name for name in names if Path(name).name != name or "\0" in name]:
        raise EnvironmentFault(f"{split}: expected names of images, found {outside[0]!r}")
    return names


def pascal_context_59(folder: Path, split: str) -> tuple[Sample, ...]:
    """VOC2010 with the labels of Pascal Context, 59 classes: 0 is the background and ignored."""
    return pascal_context(folder, split, _WITHOUT_BACKGROUND)
