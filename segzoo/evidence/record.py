"""The schema of a receipt: every fact has a type and a range, since a receipt may come from a stranger.

It says what a receipt may hold. Whether what it holds agrees with itself is for `recheck`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from segzoo.datasets.loaders import LOADERS
from segzoo.evidence.rungs.difference import TOLERANCE
from segzoo.layouts import NAMES
from segzoo.manifest.entries import Protocol, Reported, StoredCounts
from segzoo.manifest.fields import FileName, Identifier, Level, OneOf, Percent, Positive, Sha256, Text, Url
from segzoo.manifest.labelling import Folders, Labels
from segzoo.manifest.witness import Published
from segzoo.vocabulary import DTYPES, MODES, PRECISIONS, RECEIPT, STATUSES, VERDICTS

_MOST_CELLS = 12_000_000  # images times classes of a mode; ImageNet-S, the largest data set known, has 11.4 million
_LARGEST_SIZE, _LONGEST_WORD = 1 << 31, 200
_LEFT_OUT: Any = None  # of fields that a run writes or leaves out: null is neither


def _time(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(\+00:00|Z)", text):
        raise ValueError("expected a time in UTC, as in 2026-01-31T12:00:00+00:00")
    datetime.fromisoformat(text)  # a ValueError says which part is out of range
    return text


@dataclass(frozen=True, eq=False)
class OrNothing:
    """Facts of a rung that was not climbed are an empty object."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = {"[nothing]": handler.generate_schema(Empty), "[facts]": handler(source)}
        return core_schema.tagged_union_schema(kinds, discriminator=lambda value: "[nothing]" if value == {} else "[facts]")


@dataclass(frozen=True, eq=False)
class Sized:
    """A field of a geometry: a size, a scale, a word, true or false, null, or a list or an object of these. Each family has fields of its own."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        size = {"type": "number", "minimum": 0, "maximum": _LARGEST_SIZE}
        return {"anyOf": [size, {"type": "string", "maxLength": _LONGEST_WORD}, {"type": ["boolean", "null", "array", "object"]}]}

    def _checked(self, value: object) -> object:
        if not self._fits(value):
            raise PydanticCustomError("sized", f"expected a number from 0 to {_LARGEST_SIZE}, a word, or a list or an object of these")
        return value

    def _fits(self, value: object) -> bool:
        if isinstance(value, dict | list):  # not deep: the text was read within limits
            return all(map(self._fits, [*value, *value.values()] if isinstance(value, dict) else value))
        if isinstance(value, str):
            return len(value) <= _LONGEST_WORD and value.isprintable()
        return value is None or isinstance(value, bool) or (isinstance(value, int | float) and 0 <= value <= _LARGEST_SIZE)


Natural = Annotated[int, Field(ge=0, le=1 << 53)]
Size = Annotated[int, Field(ge=1, le=1 << 53)]
Heads = Annotated[int, Field(ge=1, le=_LARGEST_SIZE)]
Pixels = Annotated[int, Field(ge=0, le=1 << 36)]  # of an image; sums over all images stay below 2**63
Total = Annotated[int, Field(ge=0, le=1 << 44)]
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Difference = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Sentence = Annotated[str, Field(max_length=1 << 20)]
Word = Annotated[Text, Field(max_length=_LONGEST_WORD)]
Time = Annotated[str, AfterValidator(_time)]
Device = Annotated[str, Field(pattern=r"^[a-z]{2,20}(:[0-9]{1,3})?$")]
Precision = Annotated[str, OneOf(PRECISIONS)]
Mode = Annotated[str, OneOf(MODES)]
Row = tuple[Pixels, Pixels, Pixels, Pixels]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Empty(_Record):
    """What a rung that was not climbed found, and what a rung that looks at the file alone depends on."""


class Geometry(_Record):
    """The sizes of a backbone and its head, with the fields of its family."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[Any, Sized()]]
    heads: Heads | tuple[Heads, ...] | None = None
    positions: Heads | tuple[Heads, ...] | None = None
    decoder: dict[Word, Annotated[Any, Sized()]] | None


class WitnessBasis(Published):
    """The published scores, and the picture that they are of."""

    sha256: Sha256


class Backbone(_Record):
    """What the rungs below the mIoU depend on. `reference` is whether there was one to ask, beside the `witness`."""

    sha256: Sha256
    geometry: Geometry
    eps: Positive
    published: Sentence | None = None
    equivalents: dict[FileName, Sha256] = _LEFT_OUT
    reference: bool = _LEFT_OUT
    witness: WitnessBasis = _LEFT_OUT


class BytesFacts(_Record):
    """Which file it was. `files` are an index and its shards; then `sha256` and `size` are those of all files together."""

    artifact: FileName
    sha256: Sha256
    size: Natural
    files: Annotated[dict[FileName, Sha256], Field(min_length=2)] = _LEFT_OUT
    evidence: Word
    urls: tuple[Url, ...]
    provenance: Text = _LEFT_OUT


class NamesFacts(_Record):
    layout: Annotated[str, OneOf(NAMES)]
    tensors: Size
    dtype: Annotated[str, OneOf(DTYPES)]
    geometry: Geometry
    notes: tuple[Sentence, ...]
    assumed: tuple[Sentence, ...] = ()
    apart: tuple[Sentence, ...] = ()


class RoundTripFacts(_Record):
    by_way_of: dict[Annotated[str, OneOf(NAMES)], Natural]
    tensors: Natural
    in_this_layout_only: tuple[Word, ...]
    published: Sentence = _LEFT_OUT
    equivalents: Annotated[dict[FileName, Size], Field(min_length=1)] = _LEFT_OUT


class Intermediate(_Record):
    name: Word
    dtype: Annotated[str, OneOf(TOLERANCE)]
    relative: Difference


class WitnessFacts(_Record):
    """The model's own scores at the places of the published ones, and the largest difference."""

    scores: tuple[tuple[Level, ...], ...]
    apart: Difference


class NumbersFacts(_Record):
    """The differences of the intermediates, and what a reference has to say beside them; none where a witness alone was asked."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Difference]
    intermediates: tuple[Intermediate, ...]
    eps: Positive
    witness: WitnessFacts = _LEFT_OUT

    @model_validator(mode="after")
    def _in_both(self) -> "NumbersFacts":
        if {one.dtype for one in self.intermediates} != (set() if self.witness and not self.intermediates else set(TOLERANCE)):
            raise ValueError(f"expected intermediates in {' and in '.join(TOLERANCE)}")
        return self


class Measured(_Record):
    aAcc: Percent
    mIoU: Percent
    mAcc: Percent


class ClassFacts(_Record):
    IoU: Percent | None
    Acc: Percent | None


class StoredFacts(_Record):
    equal: bool
    close_calls: Natural


class ModeFacts(_Record):
    """What was measured in a mode. `per_image` has a row for each class that occurs: class, pixels right, predicted, labelled."""

    measured: Measured
    reported: Percent | None
    per_class: dict[Text, ClassFacts]
    confusion: Annotated[tuple[tuple[Total, ...], ...], Field(min_length=2)]
    per_image: Annotated[dict[Sentence, tuple[Row, ...]], Field(min_length=1)]
    said: Sentence
    verdict: Annotated[str, OneOf(VERDICTS)] | None = None
    stored_counts: StoredFacts = _LEFT_OUT

    @model_validator(mode="after")
    def _fits(self) -> "ModeFacts":
        classes = len(self.confusion) - 1
        if any(len(row) != classes for row in self.confusion):
            raise ValueError(f"confusion: expected {classes} numbers in each of its {classes + 1} rows")
        if len(self.per_class) != classes:
            raise ValueError(f"per_class: expected the {classes} classes of the confusion matrix, found {len(self.per_class)}")
        if classes * len(self.per_image) > _MOST_CELLS:
            raise ValueError(f"expected at most {_MOST_CELLS} images times classes, found {len(self.per_image)} times {classes}")
        if (image := self._damaged(classes)) is not None:
            raise ValueError(f"per_image.{image}: expected rows of classes below {classes} in rising order, no more pixels right than there are")
        return self

    def _damaged(self, classes: int) -> str | None:
        """The first image whose rows no evaluation would have written."""
        lengths = [len(rows) for rows in self.per_image.values()]
        rows = np.array([row for rows in self.per_image.values() for row in rows], np.int64).reshape(-1, 4)
        which = np.repeat(np.arange(len(lengths)), lengths)
        index, intersect, pred, label = rows.T
        wrong = (index >= classes) | (intersect > np.minimum(pred, label)) | (pred + label == 0)
        wrong[1:] |= (np.diff(index) <= 0) & (np.diff(which) == 0)
        return list(self.per_image)[which[wrong.argmax()]] if wrong.any() else None


class Speed(_Record):
    images_per_second: Amount
    images: Size
    threads: Size


class Agreement(_Record):
    images: Size
    pixels_percent: Percent


class Memory(_Record):
    bytes: Natural | None
    of: Word


class ScoreFacts(_Record):
    images: Size
    of: Size
    processes: Size
    modes: Annotated[dict[Mode, ModeFacts], Field(min_length=1)]
    hardware: Word = _LEFT_OUT
    peak_memory: Memory = _LEFT_OUT
    speed: Speed = _LEFT_OUT
    agreement_with_fp32: Agreement = _LEFT_OUT
    labels: tuple[Sentence, ...] = ()
    notes: tuple[Sentence, ...] = ()


class ScoreBasis(_Record):
    """All that the counts and the verdict depend on."""

    sha256: Sha256
    geometry: Geometry
    eps: tuple[Positive, Positive | None]
    protocol: Protocol
    reported: Reported | None
    counts: StoredCounts | None
    data_digest: Sha256
    loader: Annotated[str, OneOf(LOADERS)]
    folders: Folders = _LEFT_OUT
    labels: Labels = _LEFT_OUT
    split: FileName
    of: Size
    images: Size
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)]
    device: Device
    precision: Precision
    speed: bool

    @model_validator(mode="after")
    def _described(self) -> "ScoreBasis":
        if (self.loader == "folders") is not (self.folders is not None):
            raise ValueError("folders: expected those of the loader 'folders', and of no other")
        return self


class _Check(_Record):
    """What every rung has: what came of it, in a word and in a sentence."""

    status: Annotated[str, OneOf(STATUSES)]
    short: Word
    detail: Sentence
    code: Annotated[int, Field(ge=0, le=255)]
    seconds: Amount
    time: Time | None = None

    @model_validator(mode="after")
    def _says_why(self) -> "_Check":
        facts, basis, rung = (getattr(self, name) for name in ("facts", "basis", "rung"))
        if self.status == "passed" and isinstance(facts, Empty):
            raise ValueError("facts: expected those of a rung that passed, found none")
        if isinstance(facts, Empty) is not isinstance(basis, Empty) and rung not in ("bytes", "names"):
            raise ValueError("expected facts and basis, or neither")
        return self


class BytesCheck(_Check):
    """Are size and hash of the file those of the manifest?"""

    rung: Literal["bytes"]
    facts: Annotated[BytesFacts, OrNothing()]
    basis: Empty


class NamesCheck(_Check):
    """Are layout, geometry and dtype those of the manifest?"""

    rung: Literal["names"]
    facts: Annotated[NamesFacts, OrNothing()]
    basis: Empty


class RoundTripCheck(_Check):
    """Does each tensor come back the same from every other layout?"""

    rung: Literal["round trip"]
    facts: Annotated[RoundTripFacts, OrNothing()]
    basis: Annotated[Backbone, OrNothing()]


class NumbersCheck(_Check):
    """Does the backbone compute what an independent reference computes?"""

    rung: Literal["numbers"]
    facts: Annotated[NumbersFacts, OrNothing()]
    basis: Annotated[Backbone, OrNothing()]


class ScoreCheck(_Check):
    """Is the mIoU the one that was reported?"""

    rung: Literal["mIoU"]
    facts: Annotated[ScoreFacts, OrNothing()]
    basis: Annotated[ScoreBasis, OrNothing()]


Rung = Annotated[BytesCheck | NamesCheck | RoundTripCheck | NumbersCheck | ScoreCheck, Field(discriminator="rung")]


class Receipt(_Record):
    """What was proved of one entry of a zoo, with which versions, when, on what kind of machine."""

    schema_: Annotated[str, OneOf((RECEIPT,))] = Field(alias="schema")
    name: Identifier
    title: Text
    passed: bool
    checks: tuple[Rung, ...]
    time: Time
    versions: dict[Word, Word | None]
    machine: Word


def schema() -> dict[str, Any]:
    """The JSON Schema of a receipt, which `receipt.schema.json` holds."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Receipt.model_json_schema()}
