"""What the page shows of a picture: models that are loaded once, what one or two of them see, and their label maps."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segzoo.datasets.classes import Classes, Colour
from segzoo.errors import NotFoundError, UsageError
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.prediction import Prediction, predict_file
from segzoo.manifest.entries import Model
from segzoo.publishing.compare import disagreement, pairing
from segzoo.publishing.overlay import tinted
from segzoo.publishing.pictures import save_labels
from segzoo.publishing.reduced import reduced, reduced_labels
from segzoo.store.arrival import remote
from segzoo.zoo.likeness import Matched
from segzoo.zoo.loading import Loaded, loaded_of, matched_model
from segzoo.zoo.names import known_name
from segzoo.zoo.zoo import Zoo

_PIXELS = 4_000_000  # of a picture on the page
_OF_NAME = 40  # letters of a model's name in that of a label map; of two files the folders may be all that differs
_KEPT = 4  # predictions, so that a model that stays while the other one is changed need not look again

Told = Callable[[str], None]


@dataclass(frozen=True)
class Looked:
    """What a model sees in a picture. `small` is the picture as it is drawn, uint8 (h, w, 3), each side 1/`k` of its own."""

    prediction: Prediction
    small: np.ndarray
    k: int
    labels: Path
    notes: tuple[str, ...]

    @property
    def tinted(self) -> Image.Image:
        """The picture tinted by class."""
        return tinted(self.small, reduced_labels(self.prediction.labels, self.k), self.prediction.classes)


@dataclass(frozen=True)
class Shown:
    """What the page shows of a picture: two pictures of one size, the classes with the share that each model gives them, the largest first,
    the label maps, and what is to be said.
    """

    sides: tuple[Image.Image, Image.Image]
    rows: list[tuple[Colour, str, list[float]]]
    labels: list[Path]
    notes: list[str]


class Viewer:
    """Models by name, on a device. Each is loaded when it is first asked for, and stays. Label maps go below `folder`.

    `like` and `config` are of files of the user's own, as for `predict`.
    """

    def __init__(
        self,
        names: Sequence[str],
        zoo: Zoo,
        folder: Path,
        device: torch.device,
        *,
        like: str | None = None,
        config: Path | None = None,
        mode: str = "ss",
        precision: str = "fp32",
    ):
        self.names, self.zoo, self.folder, self.device = list(names), zoo, folder, device
        self.like, self.config, self.mode, self.precision = like, config, mode, precision
        self.models: dict[str, tuple[Loaded, Evaluator]] = {}
        self._look = lru_cache(_KEPT)(self._looked)

    def show(self, path: Path, names: Sequence[str], told: Told = lambda said: None) -> Shown:
        """A picture beside what a model sees in it; or what two models see. `told` hears what is being done.

        Raises SegzooError: what loading raises, EnvironmentFault for a picture that cannot be read, and UsageError for two models that have no
        class in common.
        """
        classes = [self._model(name, told)[0].classes for name in names]
        said = pairing(classes) if len(names) > 1 else None
        notes = [said] if said else []
        told(f"{' and '.join(names)}: {path.name}")
        looks = [self._look(path, name) for name in names]
        first, last = looks[0], looks[-1]
        pair = [look.prediction for look in looks]
        if len(pair) > 1:
            notes.append(f"they differ in {disagreement(pair, classes):.2f} % of the pixels")
        notes += dict.fromkeys(note for look in looks for note in look.notes)
        sides = (Image.fromarray(first.small) if first is last else first.tinted, last.tinted)
        return Shown(sides, _rows(pair, classes), [look.labels for look in looks], notes)

    def _model(self, name: str, told: Told) -> tuple[Loaded, Evaluator]:
        if name not in self.models:
            told(f"loading {name}")
            model = loaded_of(_matched(name, self.zoo, self.like, self.config))
            self.models[name] = model, Evaluator(model.module, model.protocol, len(model.classes), self.device, self.precision)
        return self.models[name]

    def _looked(self, path: Path, name: str) -> Looked:
        model, evaluator = self.models[name]
        notes = [f"{name}: taken for {model.like}, where it does not say otherwise"] if model.like not in (None, name) else []
        notes += [f"{name}: {note}" for note in (*model.assumed, *model.apart)]
        image, (prediction,) = predict_file(path, [(evaluator, model.classes)], self.mode, lambda note: notes.append(f"{path.name}: {note}"))
        height, width = image.shape[:2]
        k = min(ceil(sqrt(height * width / _PIXELS)), height, width)
        if k > 1:
            notes.append(f"{path.name}: {width}x{height} pixels: drawn at 1/{k} of that here; label maps are whole")
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        whose = re.sub(r"[^\w.-]+", "_", name)[-_OF_NAME:]
        stem = path.stem if len(self.names) == 1 else f"{path.stem}.{whose}"
        return Looked(prediction, reduced(image, k), k, Path(save_labels(prediction, folder / stem)), tuple(notes))


def _rows(pair: Sequence[Prediction], classes: Sequence[Classes]) -> list[tuple[Colour, str, list[float]]]:
    """Colour, name and shares of each class that some model sees, the largest share first. The first model's colours come first."""
    colours = {**classes[-1], **classes[0]}
    shares = {name: [one.shares.get(name, 0.0) for one in pair] for one in pair for name in one.shares}
    return [(colours[name], name, of) for name, of in sorted(shares.items(), key=lambda one: -max(one[1]))]


def chosen(names: Sequence[str], zoo: Zoo, like: str | None = None, config: Path | None = None) -> list[str]:
    """The models of these names, each once; of no name, all of the zoo that are here. Their files are opened, and read when they are used.

    Raises NotFoundError for a model that is not here and where none is, UsageError where `like` or `config` belong to no file, and what
    `matched_model` raises.
    """
    models = zoo.manifest.models
    if (like or config) and all(name in models for name in names):
        raise UsageError("--like and --config say what a file of your own does not, and no such file is named")
    if not names:
        if here := [name for name, model in models.items() if _here(model, zoo)]:
            return here
        raise NotFoundError(
            "no model of this zoo has been fetched", hint=f"segzoo {zoo.option}list shows them, segzoo {zoo.option}fetch NAME gets one"
        )
    found = []
    for given in dict.fromkeys(names):
        name = known_name(given, models) if given in models or not Path(given).exists() else None
        if name and not _here(models[name], zoo):
            raise NotFoundError(f"{name}: not fetched, and nothing is fetched for a page", hint=f"segzoo {zoo.option}fetch {name}")
        found.append(_matched(name or given, zoo, like, config).name)
    return list(dict.fromkeys(found))


def _matched(name: str, zoo: Zoo, like: str | None, config: Path | None) -> Matched:
    """A model's file, opened. `like` and `config` are of files of the user's own."""
    own = name not in zoo.manifest.models
    return matched_model(name, zoo, like if own else None, config=config if own else None)


def _here(model: Model, zoo: Zoo) -> bool:
    """Whether a model's file is in the store, or lies beside the manifest."""
    return zoo.store.find(model.artifact) is not None or any(not remote(mirror.url) for mirror in model.artifact.urls)
