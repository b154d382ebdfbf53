"""Scores of a model for one picture, as somebody has published them: a proof of numbers that needs no data set."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from segzoo.manifest.artifact import Artifact, Record
from segzoo.manifest.fields import Channels, Deviations, Level, Pair, Positive, Url

_MOST = 64  # rows, and scores of a row: a manifest is for people

Place = tuple[Annotated[int, Field(ge=0, lt=1 << 16)], Annotated[int, Field(ge=0, lt=1 << 16)], Annotated[int, Field(ge=0, lt=1 << 16)]]


class Published(Record):
    """Scores of a model for a picture.

    The picture is resized to `size` (height, width) as transformers' image processors of 2023 do: by Pillow, bilinear, its ratio not kept. A
    `size` of null leaves it as it is. The pixels, from 0 to 255, are normalised by `mean` and `std`. `scores` are rows of the model's scores at
    that size, before any softmax; `at` is class, row and column of the first. Each may differ by `tolerance` and by a hundred-thousandth of itself,
    as `torch.allclose` has it.
    """

    size: Pair | None
    mean: Channels
    std: Deviations
    at: Place = (0, 0, 0)
    scores: Annotated[tuple[Annotated[tuple[Level, ...], Field(min_length=1, max_length=_MOST)], ...], Field(min_length=1, max_length=_MOST)]
    tolerance: Positive

    @model_validator(mode="after")
    def _rectangular(self) -> "Published":
        if len({*map(len, self.scores)}) > 1:
            raise ValueError("scores: rows of one length")
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std are of the same channels")
        ends = zip(self.at[1:], (len(self.scores), len(self.scores[0])), self.size or (), strict=False)
        if any(first + count > side for first, count, side in ends):
            raise ValueError("scores: they reach beyond the size")
        return self


class Witness(Published):
    """Published scores, the picture that they are of, and where they are published."""

    picture: Artifact
    source: Url

    def basis(self, sha256: str) -> dict[str, Any]:
        """What a comparison depends on, as a receipt holds it: the published scores, and the hash of the picture that was here."""
        return {**self.model_dump(mode="json", exclude={"picture", "source"}), "sha256": sha256}

    def misfits(self, outputs: int, channels: int) -> Iterator[tuple[str, str]]:
        """Each field that does not fit a model with so many outputs, which takes so many channels, and what is wrong there."""
        if self.at[0] >= outputs:
            yield "at", f"class {self.at[0]}, but the model has {outputs}"
        if len(self.mean) != channels:
            yield "mean", f"of {len(self.mean)} channels, but the model takes {channels}"
