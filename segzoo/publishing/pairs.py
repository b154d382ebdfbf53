"""Pictures of images with their label maps, to see whether the two belong together and the labels mean what they should."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from segzoo.atomic import replacing
from segzoo.datasets.classes import Classes
from segzoo.datasets.decode import read_pair
from segzoo.datasets.sample import Sample, ignored
from segzoo.datasets.subset import subset
from segzoo.publishing.legend import legend
from segzoo.publishing.overlay import beside, labelled

PICTURES = 12
_WIDEST = 640
_LONGEST = 55  # letters of a name, of four bytes each: a file system allows 255 bytes


def draw_pairs(found: Sequence[Sample], classes: Classes, folder: Path) -> list[Path]:
    """Draw some pairs, small and large ones, each as the image beside the image tinted by its labels. Pixels that do not count stay as they are.

    Raises EnvironmentFault for a pair that cannot be read.
    """
    drawn = []
    for index, sample in enumerate(subset(found, PICTURES), 1):
        path = folder / f"{index:02}.{PurePosixPath(sample.name).stem[:_LONGEST]}.pair.png"
        picture = _drawn(sample, classes)
        with replacing(path) as part:
            picture.save(part, format="PNG")
        drawn.append(path)
    return drawn


def _drawn(sample: Sample, classes: Classes) -> Image.Image:
    image, label = read_pair(sample, len(classes))
    counts = label != ignored(len(classes))
    names = list(classes)
    indices, pixels = np.unique(label[counts], return_counts=True)
    shares = {names[index]: [100 * count / label.size] for index, count in zip(indices.tolist(), pixels.tolist(), strict=True)}
    panels = [Image.fromarray(image), labelled(image, label, counts, classes)]
    for panel in panels:
        panel.thumbnail((_WIDEST, _WIDEST))
    return beside(panels, legend(shares, classes, panels[0].height))
