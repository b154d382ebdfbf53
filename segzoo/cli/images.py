"""The images that arguments name, and where the pictures of each go."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from segzoo.errors import NotFoundError, UsageError
from segzoo.vocabulary import IMAGES


def images(given: Iterable[str]) -> Iterator[Path]:
    """The files that arguments name: files, all images of a folder, patterns, or a list on stdin for -."""
    named = list(given)
    if not named:
        raise UsageError("no image named", hint="segzoo predict MODEL IMAGE..., where - reads a list of images from stdin")
    for name in named:
        if name == "-":
            yield from images(_listed())
            continue
        path = Path(name)
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if one.suffix.lower() in IMAGES and one.is_file() and not one.name.startswith("."))
        elif path.is_file():
            found = [path]
        elif any(sign in name for sign in "*?["):
            anchor = Path(path.anchor) if path.is_absolute() else Path()
            found = sorted(one for one in anchor.glob(str(path.relative_to(path.anchor) if path.is_absolute() else path)) if one.is_file())
        else:
            raise NotFoundError(f"{name}: no such image", hint="or is it the model? it comes first: segzoo predict MODEL IMAGE...")
        if not found:
            raise NotFoundError(f"{name}: no images there", hint=f"images end in {', '.join(IMAGES)}")
        yield from found


def _listed() -> list[str]:
    """The list on stdin."""
    lines = [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise UsageError("the list of images on stdin is empty", hint="- reads one name a line: ls photos/*.jpg | segzoo predict MODEL -")
    return lines


def targets_of(paths: list[Path], output: Path) -> dict[Path, Path]:
    """Where the pictures of each image go, without a suffix; images of one name keep their suffix to stay apart."""
    stems = [path.stem for path in paths]
    targets = {path: output / (path.stem if stems.count(path.stem) == 1 else path.name.replace(".", "_")) for path in paths}
    first: dict[Path, Path] = {}
    for path, target in targets.items():
        if target in first:
            raise UsageError(
                f"{first[target]} and {path}: the pictures of both would be {target}.*",
                hint="segment them in two runs, each with a folder of its own: -o DIR",
            )
        first[target] = path
    return targets
