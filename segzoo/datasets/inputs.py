"""The images in what a user names: files, folders with all that is below them, and patterns; and what is passed over there."""

import errno
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from segzoo.datasets.listing import unreadable
from segzoo.datasets.picture_file import lacking_plugin
from segzoo.errors import EnvironmentFault, NotFoundError, UsageError
from segzoo.vocabulary import IMAGES

_SIGNS = "*?["
_MADE = (".overlay.png", ".labels.png", ".compared.png")  # what `predict` itself writes


@dataclass
class Inputs:
    """Images, each with its path below the folder that was named; and how much of each kind was passed over.

    `packages` are what would have to be installed to read some of what was passed over.
    """

    places: dict[Path, Path] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    packages: set[str] = field(default_factory=set)

    def skipped_in_words(self) -> str:
        """What was passed over: "skipped 4: 2 HEIC, 1 PDF, 1 folder"."""
        order = sorted(self.skipped.items(), key=lambda one: (-one[1], one[0]))
        return f"skipped {self.skipped.total()}: " + ", ".join(f"{count} {kind if count == 1 else _MANY.get(kind, kind)}" for kind, count in order)

    @property
    def hint(self) -> str | None:
        """What to do to read what was passed over; None where nothing helps."""
        return f"pip install {' '.join(sorted(self.packages))}, and they are read too" if self.packages else None


_MANY = {
    "folder": "folders",
    "unreadable folder": "unreadable folders",
    "hidden file": "hidden files",
    "broken link": "broken links",
    "earlier result": "earlier results",
}


def inputs(names: Iterable[str], output: Path) -> Inputs:
    """All images that names stand for, each once. The folder `output` is passed over, for it holds what was made of images.

    Raises NotFoundError for names of nothing, and for folders and patterns without an image.
    """
    found, lost = Inputs(), []
    for name in names:
        path = Path(name)
        if _too_long(path):
            lost.append(name)
            continue
        if path.is_dir():
            images = _below(path, output.resolve(), found)
        elif path.is_file():
            images = {path: Path(path.name)}
        elif any(sign in name for sign in _SIGNS):
            try:
                images = dict(_matching(path, found))
            except (ValueError, re.error) as error:  # such as **.jpg
                raise NotFoundError(f"{name}: no pattern of file names: {error}", "* stands for a part of one name, **/ for all folders") from error
        else:
            lost.append(name)
            continue
        if not images:
            passed = f"; {found.skipped_in_words()}" if found.skipped else ""
            raise NotFoundError(f"{name}: no images there{passed}", hint=found.hint or f"images end in {', '.join(IMAGES)}")
        found.places |= {path: place for path, place in images.items() if path not in found.places}
    if lost:
        more = f", nor {lost[1]}{f' and {len(lost) - 2} more' if len(lost) > 2 else ''}" if len(lost) > 1 else ""
        raise NotFoundError(f"{lost[0]}: no such image{more}", hint="or is it the model? it comes first: segzoo predict MODEL IMAGE...")
    return found


def _too_long(path: Path) -> bool:
    """Whether the system takes no such name, as where a list names what is no list."""
    try:
        path.lstat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    except ValueError:  # a NUL in it
        return True
    return False


def _below(top: Path, output: Path, found: Inputs) -> dict[Path, Path]:
    """The images below a folder, sorted; links to folders are followed, but not in a circle.

    A folder may hold many thousands of files: each is judged by its name and by what the listing says of it, as far as that goes.
    """
    images: dict[Path, Path] = {}
    results, here = _place(output), _place(top)
    waiting = [(Path(), top.resolve().is_relative_to(output), frozenset({here}), iter(_entries(top)))]
    while waiting:
        below, made_here, above, entries = waiting[-1]
        entry = next(entries, None)
        if entry is None:
            waiting.pop()
        elif _is(entry.is_dir):
            here = _place(Path(entry.path))
            if entry.name.startswith(".") or here in above or here == results:
                found.skipped["folder"] += 1
            else:
                try:
                    inner = _entries(Path(entry.path))
                except EnvironmentFault:
                    found.skipped["unreadable folder"] += 1
                else:
                    results_here = Path(entry.path).resolve().is_relative_to(output) if entry.is_symlink() else made_here
                    waiting.append((below / entry.name, results_here, above | {here}, iter(inner)))
        elif kind := _no_image(entry, made_here, found):
            found.skipped[kind] += 1
        else:
            images[Path(entry.path)] = below / entry.name
    return images


def _place(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from all others, whatever the links that lead to it; None if there is none."""
    try:
        fact = folder.stat()
    except OSError:
        return None
    return fact.st_dev, fact.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name. Raises EnvironmentFault if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from error


def _is(asked: Callable[[], bool]) -> bool:
    """What the system says of a file; False if it does not say, as of a link that leads to itself."""
    try:
        return asked()
    except OSError:
        return False


def _no_image(entry: os.DirEntry[str], made_here: bool, found: Inputs) -> str | None:
    """The kind of a file that is no image to be segmented; None for an image. `made_here` says that results go into its folder."""
    suffix = PurePath(entry.name).suffix.lower()
    if entry.name.startswith("."):  # macOS writes a ._NAME beside each NAME that it copies to another disk
        return "hidden file"
    if made_here and entry.name.endswith(_MADE):
        return "earlier result"
    if not _is(entry.is_file):
        return "broken link" if entry.is_symlink() else "no file"
    if suffix not in IMAGES:
        return suffix[1:].upper() or "without a suffix"
    if package := lacking_plugin(suffix):
        found.packages.add(package)
        return suffix[1:].upper()
    return None


def _matching(pattern: Path, found: Inputs) -> Iterator[tuple[Path, Path]]:
    """The files that a pattern matches, sorted, each with its path below the part of the pattern that has no sign."""
    parts = pattern.parts
    plain = next(index for index, part in enumerate(parts) if any(sign in part for sign in _SIGNS))
    anchor = Path(*parts[:plain])
    for path in sorted(anchor.glob(str(Path(*parts[plain:])))):
        if path.is_dir():
            found.skipped["folder"] += 1
        elif path.suffix.lower() in IMAGES or path.suffix == pattern.suffix:
            yield path, path.relative_to(anchor)
        else:
            found.skipped[path.suffix[1:].upper() or "without a suffix"] += 1


def targets_of(places: Mapping[Path, Path], output: Path) -> dict[Path, Path]:
    """Where the pictures of each image go, without a suffix; images of one name keep their suffix to stay apart. Raises UsageError."""
    plain = [place.with_suffix("") for place in places.values()]
    alike = Counter(plain)
    first: dict[Path, Path] = {}
    for (path, place), stem in zip(places.items(), plain, strict=True):
        target = output / (stem if alike[stem] == 1 else place.with_name(place.name.replace(".", "_")))
        if target in first:
            raise UsageError(
                f"{first[target]} and {path}: the pictures of both would be {target}.*",
                hint="segment them in two runs, each with a folder of its own: -o DIR",
            )
        first[target] = path
    return {path: target for target, path in first.items()}
