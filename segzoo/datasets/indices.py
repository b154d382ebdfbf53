"""Class indices from the values in label maps, by tables that are made once."""

from functools import lru_cache

import numpy as np

from segzoo.datasets.sample import NO_CLASS, Meaning


def indices(meaning: Meaning, values: np.ndarray, classes: int) -> np.ndarray:
    """The classes, uint16, of values: uint8 or uint16, or 0xRRGGBB as uint32 for a meaning in colours.

    `ignored(classes)` marks ignored pixels, NO_CLASS values that mean nothing.
    """
    if not meaning.coloured:
        return _table(meaning, classes)[values]
    keys, found = _colours(meaning, classes)
    flat = values.ravel()  # label maps have long runs of one colour: each run is looked up once
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    place = np.minimum(np.searchsorted(keys, flat[starts]), len(keys) - 1)
    runs = np.where(keys[place] == flat[starts], found[place], np.uint16(NO_CLASS))
    return np.repeat(runs, np.diff(np.append(starts, flat.size))).reshape(values.shape)


@lru_cache(16)
def _table(meaning: Meaning, classes: int) -> np.ndarray:
    """The class of each value of 16 bits, uint16 (65536,)."""
    table = np.full(65536, NO_CLASS, np.uint16)
    for value in _stated(meaning, classes):
        table[value] = meaning.class_of(value, classes)
    return table


@lru_cache(16)
def _colours(meaning: Meaning, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours that mean something, sorted, uint32 (k,), and the class of each, uint16 (k,)."""
    colours = _stated(meaning, classes)
    return np.array(colours, np.uint32), np.array([meaning.class_of(colour, classes) for colour in colours], np.uint16)


def _stated(meaning: Meaning, classes: int) -> list[int]:
    """The values that mean something, sorted."""
    of_classes = range(meaning.first, meaning.first + classes) if meaning.keyed is None else (value for value, _ in meaning.keyed)
    return sorted({*meaning.ignore, *of_classes})
