"""A model that a program holds: a Segmenter that runs whole pictures by its protocol and knows its classes, or a backbone."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from segzoo.datasets.picture import Picture, picture
from segzoo.errors import EnvironmentFault, UsageError, one_of
from segzoo.evaluation.evaluator import Evaluator
from segzoo.evaluation.precision import TORCH_DTYPES
from segzoo.evaluation.prediction import Prediction, predict
from segzoo.manifest.entries import Model, Protocol
from segzoo.models.segmentor import Segmenter
from segzoo.vocabulary import MODES, PRECISIONS
from segzoo.zoo.likeness import match_entry
from segzoo.zoo.loading import Loaded, loaded_of, module
from segzoo.zoo.zoo import ByteProgress, Zoo


class Ready(Segmenter):
    """A Segmenter with its protocol and its classes, name to colour in the order of the indices.

    `name` is what it was loaded by. `like` names the model of the zoo that supplied what a file of one's own does not show. Several
    threads may use one model.
    """

    def __init__(self, made: Loaded):
        super().__init__(made.module.backbone, made.module.neck, made.module.decode_head)  # type: ignore[arg-type]
        self.name, self.like = made.name, made.like
        self.protocol: Protocol = made.protocol
        self.classes: Mapping[str, tuple[int, int, int]] = made.classes
        self.train(made.module.training)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def predict(self, images: Iterable[Picture], *, mode: str = "ss", precision: str | None = None, scores: bool = False) -> list[Prediction]:
        """What the model sees in each picture, on its own device, by its protocol.

        `precision` is what the network computes in; by default what its weights are in. Raises UsageError, and EnvironmentFault for a
        picture that cannot be read or does not fit in memory.
        """
        one_of("mode", mode, MODES)
        evaluator = self._evaluator(precision)
        return [self._predicted(evaluator, number, one, mode, scores) for number, one in enumerate(images)]

    def _predicted(self, evaluator: Evaluator, number: int, given: Picture, mode: str, scores: bool) -> Prediction:
        where = str(given) if isinstance(given, str | Path) else f"image {number}"
        try:
            return predict(evaluator, picture(given, evaluator.channels), self.classes, mode, scores)
        except (EnvironmentFault, UsageError) as error:
            if where in error.message:
                raise
            raise type(error)(f"{where}: {error.message}", error.hint) from error

    def _evaluator(self, precision: str | None) -> Evaluator:
        """The evaluator of this model; of a copy, where the precision is another than that of the weights, which stay as they are."""
        weight = next(self.parameters())
        if precision is None:
            precision = next((name for name, dtype in TORCH_DTYPES.items() if dtype == weight.dtype), "fp32")
        one_of("precision", precision, PRECISIONS)
        model = self if weight.dtype == TORCH_DTYPES[precision] else deepcopy(self)
        return Evaluator(model, self.protocol, len(self.classes), weight.device, precision)


def ready(
    source: str | Path, zoo: Zoo, like: str | None = None, config: Path | None = None, said: ByteProgress = lambda done, whole: None
) -> nn.Module:
    """A model or a backbone of the zoo by name, or one in a file of one's own, in any layout; `config` is that of the file.

    Raises UsageError where several entries fit a file and they differ; NotFoundError, ConversionError, and what fetching raises.
    """
    matched = match_entry(source, zoo, zoo.manifest.entries, like, said, config)
    if isinstance(matched.entry, Model):
        return Ready(loaded_of(matched))
    return module(matched.file, matched.entry)


def segmenter(given: object) -> Ready:
    """A model that was loaded before. Raises UsageError for anything else, such as a backbone."""
    if isinstance(given, Ready):
        return given
    what = "a backbone, which has no classes of pixels" if hasattr(given, "features") else type(given).__name__
    raise UsageError(f"a model is a name, a file, or what segzoo.load gave; found {what}")
