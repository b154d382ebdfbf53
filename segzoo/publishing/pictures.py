"""The files that are made of an image's prediction: the label map first, then what people look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segzoo.atomic import replacing
from segzoo.datasets.classes import Classes
from segzoo.errors import EnvironmentFault, SegzooError
from segzoo.evaluation.prediction import Prediction
from segzoo.publishing.compare import disagreement, side_by_side
from segzoo.publishing.label_map import index_map, server_map
from segzoo.publishing.overlay import overlay
from segzoo.publishing.reduced import reduction


@dataclass(frozen=True)
class Wanted:
    """The names and classes of the models, one or two, and what is made of their predictions.

    `original` puts the image itself beside its overlay. `server` names a benchmark: its label map is made, and nothing else.
    """

    models: Sequence[tuple[str, Classes]]
    original: bool = False
    server: str | None = None


def save(image: np.ndarray, found: Sequence[Prediction], target: Path, wanted: Wanted) -> tuple[dict[str, Any], SegzooError | None]:
    """Save what is wanted of an image, under `target` and a suffix; the facts for --json, and why a picture for people failed.

    Raises EnvironmentFault if a label map cannot be written.
    """
    names, classes = [name for name, _ in wanted.models], [its for _, its in wanted.models]
    facts: dict[str, Any] = {"height": image.shape[0], "width": image.shape[1]}
    if wanted.server:
        facts["shares"] = found[0].shares
        facts["labels"] = _written(server_map(found[0].labels, wanted.server, len(classes[0])), target, "png")
        return facts, None
    if len(names) == 1:
        facts["shares"] = found[0].shares
        facts["labels"] = save_labels(found[0], target)
        panels, kind = 1 + wanted.original, "overlay"
        drawn: Callable[[], Image.Image] = lambda: overlay(image, found[0], classes[0], wanted.original)  # noqa: E731 - drawn below, where it may fail
    else:
        facts["shares"] = {name: one.shares for name, one in zip(names, found, strict=True)}
        facts["differ_percent"] = disagreement(found, classes)
        panels, kind = 3, "compared"
        drawn = lambda: side_by_side(image, found, [Path(name).stem for name in names], classes)  # noqa: E731
    if (k := reduction(image.shape[:2], panels)) > 1:
        facts["drawn_at"] = f"1/{k}"
    try:
        facts[kind] = _written(drawn(), target, f"{kind}.png")
    except Exception as error:  # the label map is there, and other images follow: no fault of a drawing may end them
        return facts, _fault(error, target, kind)
    return facts, None


def save_labels(found: Prediction, target: Path) -> str:
    """Save a label map as `target`.labels.png, whose values are class indices; its path. Raises EnvironmentFault if it cannot be written."""
    return _written(index_map(found.labels, found.classes), target, "labels.png")


def _fault(error: Exception, target: Path, kind: str) -> SegzooError:
    """The error for a picture that was not made."""
    said = f"{target}.{kind}.png: not made"
    if isinstance(error, SegzooError):
        return type(error)(f"{said}: {error.message}", error.hint)
    if isinstance(error, MemoryError):
        return EnvironmentFault(f"{said}: out of memory")
    return SegzooError(f"{said}: {type(error).__name__}: {error}", hint="this is a bug in segzoo: please report it, with the picture's size")


def _written(picture: Image.Image, target: Path, suffix: str) -> str:
    path = target.with_name(f"{target.name}.{suffix}")
    with replacing(path) as part:
        picture.save(part, format="PNG")
    return str(path)
