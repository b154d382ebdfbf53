"""Everything that the files of a data set show: which pair up, their sizes and modes, and the values in the label maps."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count

import numpy as np

from segzoo.datasets.decode import mode_of, read_values, same_size
from segzoo.datasets.image import read_image
from segzoo.datasets.listing import fault_of
from segzoo.datasets.sample import NO_CLASS, Sample, ignored
from segzoo.datasets.survey import Survey
from segzoo.errors import EnvironmentFault


@dataclass
class Inspection:
    """What the pairs of a data set show. `sizes` are (width, height); `images_with` counts the images in which a class is labelled."""

    pairs: list[Sample] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    image_modes: Counter[str] = field(default_factory=Counter)
    label_modes: Counter[str] = field(default_factory=Counter)
    survey: Survey = field(default_factory=Survey)
    images_with: Counter[int] = field(default_factory=Counter)
    faults: list[EnvironmentFault] = field(default_factory=list)


def inspect(found: Sequence[Sample], classes: int, done: Callable[[], None] = lambda: None) -> Inspection:
    """Decode every image and label map. A pair with a fault is left out; files that are not there are left to `pairs.faults`."""
    whole = Inspection()
    there = [sample for sample in found if not (fault_of(sample.image) or fault_of(sample.label))]
    with ThreadPoolExecutor(min(cpu_count() or 1, 16), "pairs") as pool:
        for start in range(0, len(there), 32):  # a few at a time, so that few are in memory
            for sample, seen in zip(there[start : start + 32], pool.map(_seen, there[start : start + 32]), strict=True):
                _add(whole, sample, seen, classes)
                done()
    return whole


@dataclass(frozen=True)
class _Seen:
    """A pair: the image's size, the modes in which both are stored, and the values in the label map."""

    size: tuple[int, int]
    image_mode: str
    label_mode: str
    values: np.ndarray


def _seen(sample: Sample) -> _Seen | EnvironmentFault:
    try:
        image, values = read_image(sample.image), read_values(sample)
        same_size(sample, image.shape, values.shape)
    except EnvironmentFault as fault:
        return fault
    return _Seen((image.shape[1], image.shape[0]), mode_of(sample.image), mode_of(sample.label), values)


def _add(whole: Inspection, sample: Sample, seen: _Seen | EnvironmentFault, classes: int) -> None:
    if isinstance(seen, EnvironmentFault):
        whole.faults.append(seen)
        return
    whole.pairs.append(sample)
    whole.sizes[seen.size] += 1
    whole.image_modes[seen.image_mode] += 1
    whole.label_modes[seen.label_mode] += 1
    occurring = whole.survey.add(sample, seen.values)
    whole.images_with.update({sample.meaning.class_of(value, classes) for value in occurring} - {NO_CLASS, ignored(classes)})
