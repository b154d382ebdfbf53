"""Saved predictions: the label map of each image in a folder, and its class indices."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from segzoo.datasets.decode import read_values
from segzoo.datasets.indices import indices
from segzoo.datasets.listing import SUFFIXES, is_folder, walked
from segzoo.datasets.sample import NO_CLASS, Meaning, Sample
from segzoo.errors import EnvironmentFault, NotFoundError

_LABELS = ".labels"  # `predict` writes NAME.labels.png, and other pictures beside it
_OTHERS = (".overlay", ".compared", ".original")
_PLAIN = Meaning()


def predictions(folder: Path, found: Sequence[Sample]) -> tuple[list[Path], list[Path]]:
    """The prediction of each sample, and the label maps that belong to none.

    A prediction is called as its image, with any suffix or as `predict` writes it, in the same folders or all in one. Raises
    NotFoundError if the folder or the prediction of an image is not there.
    """
    if not is_folder(folder):
        raise NotFoundError(f"{folder}: no such folder", hint="name the folder of the label maps, as segzoo predict -o writes it")
    there = _there(folder)
    chosen = [next((there[key] for key in _keys(sample) if key in there), None) for sample in found]
    lacking = [sample.name for sample, path in zip(found, chosen, strict=True) if path is None]
    if lacking:
        stem = PurePosixPath(lacking[0]).with_suffix("").as_posix()
        said = f"{folder}: predictions are missing for {len(lacking)} of {len(found)} images, the first {lacking[0]}"
        raise NotFoundError(said, hint=f"expected {stem}{_LABELS}.png, as segzoo predict writes it, or {stem}.png")
    paths = [path for path in chosen if path is not None]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        names = [sample.name for sample, path in zip(found, paths, strict=True) if path == twice]
        raise NotFoundError(f"{twice}: the prediction of {names[0]}, or of {names[1]}?", hint="keep the predictions in the folders of their images")
    return paths, sorted(set(there.values()) - set(paths))


def _there(folder: Path) -> dict[str, Path]:
    """The label maps below a folder by the name that they share with their image; what `predict` calls so comes first."""
    found: dict[str, Path] = {}
    for path in walked(folder):
        if path.suffix.lower() in SUFFIXES and not path.stem.endswith(_OTHERS):
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key.endswith(_LABELS):
                found[key.removesuffix(_LABELS)] = path
            else:
                found.setdefault(key, path)
    return found


def _keys(sample: Sample) -> list[str]:
    """The names that a sample's prediction may have, the likeliest first. Images of one stem keep their suffix, as `predict` has it."""
    name = PurePosixPath(sample.name)
    kept = name.with_name(name.name.replace(".", "_"))
    return [one.as_posix() for one in (kept, name.with_suffix(""), PurePosixPath(kept.name), PurePosixPath(name.stem))]


def largest(paths: Sequence[Path], found: Sequence[Sample]) -> int:
    """The largest value in saved predictions. Raises EnvironmentFault for one that cannot be read."""
    return max(int(_values(path, sample).max()) for path, sample in zip(paths, found, strict=True))


def _values(path: Path, sample: Sample) -> np.ndarray:
    return read_values(replace(sample, label=path, meaning=_PLAIN))


def read_prediction(path: Path, sample: Sample, classes: int, shape: tuple[int, ...]) -> np.ndarray:
    """The class indices uint16 (h, w) of a saved prediction. Raises EnvironmentFault for another size (h, w) or values beyond the classes."""
    values = _values(path, sample)
    if values.shape != shape:
        said = f"{path}: {values.shape[1]}x{values.shape[0]} pixels, the label map of {sample.name} has {shape[1]}x{shape[0]}"
        raise EnvironmentFault(said, hint="a prediction has the size of its image: resize the scores before the arg-max, not the label map")
    found = indices(_PLAIN, values, classes)
    if (strange := found == NO_CLASS).any():
        shown = ", ".join(str(value) for value in np.unique(values[strange])[:6])
        said = f"{path}: values {shown} in {int(strange.sum())} pixels; a prediction has class indices from 0 to {classes - 1}"
        raise EnvironmentFault(said, hint="values of a benchmark server, such as index + 1, or of another set of classes are not indices")
    return found
