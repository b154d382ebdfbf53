"""The images and label maps of a split: found by the data set's loader, checked, and summed up in a digest."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from segzoo.datasets.listing import ABSENT, LackingFolder, fault_of, folder_given, is_folder, open_file, rename_hint, unreadable
from segzoo.datasets.loaders import Loader, loader
from segzoo.datasets.sample import Sample
from segzoo.errors import EnvironmentFault
from segzoo.text import legible


def samples(loads: str | Loader, folder: Path, split: str, expected: int) -> tuple[Sample, ...]:
    """The samples of a split, by a loader or the name of one.

    Raises EnvironmentFault if an image lacks its label, is no file or occurs twice, or if there are not `expected`.
    """
    found = found_in(loads, folder, split)
    for fault in faults(found, folder, split, expected):
        raise fault
    return found


def found_in(loads: str | Loader, folder: Path, split: str) -> tuple[Sample, ...]:
    """What a loader finds, unchecked. Raises EnvironmentFault."""
    loads = loader(loads) if isinstance(loads, str) else loads
    try:
        return tuple(replace(sample, name=legible(sample.name)) for sample in loads(folder, split))
    except OSError as error:  # a folder that may be listed and not entered
        raise unreadable(Path(error.filename or folder), error) from error


def faults(found: Sequence[Sample], folder: Path, split: str, expected: int | None) -> Iterator[EnvironmentFault]:
    """What is wrong with the samples of a split: files that cannot be read, labels that are missing, another number, a name twice.

    Raises EnvironmentFault for a folder that may not be entered.
    """
    lacking = []
    for sample in found:
        for path in (sample.image, sample.label):
            if (fault := fault_of(path)) == ABSENT and path is sample.label:
                lacking.append(path)
            elif fault:
                yield EnvironmentFault(f"{path}: {fault}", hint=f"put a file in its place, or rename it: every *{path.suffix} there is read")
    if lacking:
        hint = rename_hint(dict.fromkeys(path.parent for path in lacking if path.parent.is_dir()), lacking[0].suffix)
        yield EnvironmentFault(f"labels are missing for {len(lacking)} of {len(found)} images, the first {lacking[0]}", hint)
    if expected is not None and len(found) != expected:
        other = rename_hint(dict.fromkeys(sample.image.parent for sample in found), found[0].image.suffix) if found else None
        hint = other or "the data set is not whole, or `images` in the manifest is wrong"
        yield EnvironmentFault(f"{folder}: expected {expected} images in '{split}', found {len(found)}", hint)
    for name in [name for name, times in Counter(sample.name for sample in found).items() if times > 1][:1]:
        yield EnvironmentFault(f"{folder}: two images in '{split}' are called {name}", hint="counts are kept by name: rename one, or list it once")


def samples_in(data: Path, root: str, loads: str | Loader, split: str, expected: int) -> tuple[Path, tuple[Sample, ...]]:
    """The data set's folder and its samples. `data` is that folder, or the one above, in which it is called `root`.

    Raises EnvironmentFault.
    """
    inner = data / root
    folder = inside(data, root)
    try:
        return folder, samples(loads, folder, split, expected)
    except LackingFolder as error:
        if folder == inner:
            raise
        raise LackingFolder(error.message, hint="; ".join(filter(None, [error.hint, f"there is no {inner} either"]))) from error


def inside(data: Path, root: str) -> Path:
    """The folder of a data set: `data`, or the one in it that is called `root`. Raises EnvironmentFault if there is none."""
    return inner if is_folder(inner := data / root) else folder_given(data)


def digest(found: tuple[Sample, ...]) -> str:
    """SHA-256 over the names and contents of all images and labels; it says on which data a figure was measured. Raises EnvironmentFault."""
    whole = hashlib.sha256()
    for sample in found:
        for path in (sample.image, sample.label):
            try:
                with open_file(path) as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise unreadable(path, error) from error
            whole.update(f"{path.name} {content}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()
