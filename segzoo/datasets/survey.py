"""The values that occur in label maps, counted before anything is scored."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path

import numpy as np

from segzoo.datasets.decode import read_values
from segzoo.datasets.sample import NO_CLASS, Meaning, Sample, ignored


@dataclass
class Survey:
    """The pixels of each value in some label maps, by the meaning of the values, and the label map in which a value first occurs."""

    images: int = 0
    pixels: dict[tuple[Meaning, int], int] = field(default_factory=dict)
    first: dict[tuple[Meaning, int], Path] = field(default_factory=dict)

    def add(self, sample: Sample, values: np.ndarray) -> list[int]:
        """Count the values (h, w) of one more label map, and give those that occur."""
        self.images += 1
        occurring, pixels = (one.tolist() for one in _occurring(values))
        for value, count in zip(occurring, pixels, strict=True):
            key = (sample.meaning, value)
            self.pixels[key] = self.pixels.get(key, 0) + count
            self.first.setdefault(key, sample.label)
        return occurring

    def by_class(self, classes: int) -> dict[int, int]:
        """The pixels of each class that is labelled, of `ignored(classes)` and of NO_CLASS."""
        found: dict[int, int] = {}
        for (meaning, value), pixels in self.pixels.items():
            index = meaning.class_of(value, classes)
            found[index] = found.get(index, 0) + pixels
        return found

    def labelled(self, classes: int) -> dict[int, int]:
        """The pixels of each class that is labelled."""
        return {index: pixels for index, pixels in sorted(self.by_class(classes).items()) if index not in (ignored(classes), NO_CLASS)}


def survey(samples: Sequence[Sample], done: Callable[[int], None] = lambda count: None, into: Survey | None = None) -> Survey:
    """Count the values in the label maps of some samples. Raises EnvironmentFault for one that cannot be read."""
    found = into or Survey()
    with ThreadPoolExecutor(min(cpu_count() or 1, 16), "labels") as pool:
        try:
            for count, (sample, values) in enumerate(zip(samples, _each(pool, samples), strict=True), 1):
                found.add(sample, values)
                done(count)
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def _each(pool: ThreadPoolExecutor, samples: Sequence[Sample]) -> Iterable[np.ndarray]:
    """The values of each sample, read by threads, a few dozen at a time so that few are in memory."""
    for start in range(0, len(samples), 32):
        yield from pool.map(read_values, samples[start : start + 32])


def _occurring(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, and the pixels of each."""
    if values.dtype == np.uint32:
        return np.unique(values, return_counts=True)
    pixels = np.bincount(values.ravel())
    there = np.flatnonzero(pixels)
    return there, pixels[there]
