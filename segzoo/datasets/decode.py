"""Label maps from their files, and pairs of image and label map, decoded as MMSegmentation decodes them.

Labels come out as from Pillow: 8-bit values or palette indices, never turned or resized.
"""

from pathlib import Path

import numpy as np

from segzoo.datasets.image import UNREADABLE, opened, read_image, unreadable
from segzoo.datasets.sample import FROM_ONE, IGNORED, Sample, ignored
from segzoo.errors import EnvironmentFault


def read_label(sample: Sample, classes: int) -> np.ndarray:
    """Class indices uint16 (h, w) by the sample's own table. `ignored(classes)` marks the pixels of no class.

    Files of 16 bits are read where 8 do not hold all classes. The values in them are indices, or begin at one.
    """
    try:
        with opened(sample.label) as image:
            mode, raw = image.mode, np.array(image)
    except UNREADABLE as error:
        raise unreadable(sample.label, "label map", error) from error
    wide = classes > IGNORED
    if mode not in (("L", "P", "I;16") if wide else ("L", "P")):
        raise EnvironmentFault(
            f"{sample.label}: expected {'8- or 16' if wide else '8'}-bit class indices, found an image of mode {mode}",
            hint=f"colours{'' if wide else ' or 16-bit labels'} are another edition of the data set",
        )
    label = _beyond_bytes(raw, sample.meaning) if wide else np.frombuffer(sample.meaning, np.uint8)[raw].astype(np.uint16)
    if (beyond := (label >= classes) & (label != ignored(classes))).any():
        values = ", ".join(map(str, np.unique(raw[beyond])[:6]))
        raise EnvironmentFault(
            f"{sample.label}: labels {values} in {int(beyond.sum())} pixels, but the data set has {classes} classes",
            hint="the label is of another edition of the data set, or the manifest has the wrong `loader` or too few `classes`",
        )
    return label


def _beyond_bytes(raw: np.ndarray, meaning: bytes) -> np.ndarray:
    """Class indices where 255 is one of them. A 0 that means no class becomes 65535, which is ignored there."""
    return raw.astype(np.uint16) - np.uint16(meaning == FROM_ONE)


def read_pair(sample: Sample, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, of the same size."""
    image, label = read_image(sample.image), read_label(sample, classes)
    if image.shape[:2] != label.shape:
        said = f"{sample.label}: {label.shape[1]}x{label.shape[0]} pixels, its image has {image.shape[1]}x{image.shape[0]}"
        raise EnvironmentFault(said, hint=_apart(sample.image, label.shape))
    return image, label


def _apart(image: Path, size: tuple[int, ...]) -> str:
    """What to do if a label map's size (h, w) is not that of its image."""
    with opened(image) as stored:
        if (stored.height, stored.width) != size:
            return "one of them was resized, or belongs to another picture: get both again from their source"
    turned = f"as stored, {image.name} has the label's size; its EXIF turns it, and MMSegmentation follows the EXIF"
    return f"{turned}: remove the orientation from the image's EXIF, or turn the label map"
