"""zoo.yaml to frozen records; every complaint names file, line and field.

The records are the schema: strict types, no unknown fields.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from segzoo import strict_yaml
from segzoo.errors import NotFoundError, UsageError
from segzoo.faults import faults
from segzoo.fields import Colour, Count, FileName, Folder, Identifier, Pair, Percent, Positive, Prefix, Sha256, Text, Url
from segzoo.layouts.vit.geometry import Decoder, Geometry


def packaged(name: str) -> Path:
    """A file that ships with segzoo: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package, package.parent):
        if (folder / name).exists():
            return folder / name
    raise NotFoundError(f"{name} is not in this installation of segzoo", hint="reinstall segzoo")


def _mirror(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _integer(value: Any) -> Any:
    if type(value) is not int:  # True and 1.0 equal 1
        raise ValueError("must be the number 1")
    return value


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mirror(Record):
    """One address of an artifact; `unverified` says why it is a candidate only."""

    url: Url
    unverified: Text | None = None

    @property
    def relative(self) -> bool:
        """Whether it starts from the manifest's folder."""
        return not self.url.startswith(("http://", "https://", "file:"))


Urls = Annotated[tuple[Annotated[Mirror, BeforeValidator(_mirror, json_schema_input_type=str | Mirror)], ...], Field(min_length=1)]


class Artifact(Record):
    """A file known by its content: full hash, or the eight hex digits that its publisher put into its name."""

    name: FileName
    layout: Literal["augreg", "bigvision", "timm", "mmseg", "segmenter", "hf", "torchvision"] | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    size: Count | None = None
    sha256: Sha256 | None = None
    sha256_prefix: Prefix | None = None
    provenance: Text | None = None
    urls: Urls

    @property
    def third_party(self) -> bool:
        """Whether the sha256 is from somebody else than the publisher, who gave none."""
        return re.search("third[ -]part", self.provenance or "") is not None

    @model_validator(mode="after")
    def _agrees(self) -> "Artifact":
        if self.sha256 and self.sha256_prefix and not self.sha256.startswith(self.sha256_prefix):
            raise ValueError("sha256 does not begin with sha256_prefix")
        return self


Split = Literal["training", "validation", "train", "val"]


class Dataset(Record):
    """Images with labels. `path` is a folder relative to the manifest; `archive` is downloaded otherwise; where
    there is neither, `home` says where people get it.

    `classes` maps each class, in label order, to its colour.
    """

    title: Text
    loader: Literal["ade20k", "pascal-context", "pascal-context-59", "cityscapes"]
    root: Folder
    split: Split
    images: Count
    other_splits: dict[Split, Count] = Field(default_factory=dict)
    label_rule: Text
    licence: Text | None = None
    home: Url | None = None
    path: Folder | None = None
    archive: Artifact | None = None
    digest: Sha256 | None = None
    classes: dict[Text, tuple[Colour, Colour, Colour]]

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs each split has, as far as the manifest says."""
        return {str(split): count for split, count in [*self.other_splits.items(), (self.split, self.images)]}

    @property
    def artifact(self) -> Artifact | None:
        return self.archive


class Sizes(Record):
    """A backbone's geometry, as the tensors of its file must show it."""

    width: Count
    depth: Count
    heads: Count
    mlp: Count
    patch: Count
    grid: Count
    classes: Count | None = None

    def geometry(self, decoder: Decoder | None = None) -> Geometry:
        return Geometry(self.width, self.depth, self.heads, self.mlp, self.patch, self.grid**2, self.classes, decoder)


class Backbone(Record):
    title: Text
    licence: Text | None = None
    file: FileName
    source: Artifact
    published: Artifact | None = None
    geometry: Sizes
    eps: Positive = 1e-6

    @property
    def artifact(self) -> Artifact:
        return self.source


class ModelBackbone(Record):
    """A Segmenter's backbone; `image` is the side in pixels that its position embeddings are for, `classes` are
    those of a classifier that the file still carries.
    """

    width: Count
    depth: Count
    heads: Count
    mlp: Count
    patch: Count
    image: Count
    eps: Positive
    classes: Count | None = None

    @model_validator(mode="after")
    def _whole_patches(self) -> "ModelBackbone":
        if self.image % self.patch:
            raise ValueError("image is no multiple of patch")
        if self.width % self.heads:
            raise ValueError("heads do not divide width")
        return self


class Head(Record):
    kind: Literal["mask", "linear"]
    classes: Count
    depth: Count | None = None
    heads: Count | None = None
    mlp: Count | None = None
    eps: Positive | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Head":
        masked = (self.depth, self.heads, self.mlp, self.eps)
        if self.kind == "mask" and None in masked:
            raise ValueError("a mask head needs depth, heads, mlp and eps")
        if self.kind == "linear" and any(value is not None for value in masked):
            raise ValueError("a linear head has no depth, heads, mlp or eps")
        return self


Mode = Literal["ss", "ms+flip", "ms+flip-1.x", "whole"]


def _channels(value: Any) -> Any:
    return (value,) * 3 if isinstance(value, int | float) else value


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if min(values) <= 0:
        raise ValueError("must be greater than 0")
    return values


Channels = Annotated[tuple[float, float, float], BeforeValidator(_channels, json_schema_input_type=float | tuple[float, float, float])]


class Protocol(Record):
    """How the figure is measured: resize to `scale` keeping the ratio, slide windows of `crop` by `stride`.

    `by` is whose program is followed where they differ: MMSegmentation's, or that of rstrudel/segmenter,
    which enlarges an image until a window fits, resizes position embeddings bilinearly, and takes the
    softmax at a single scale too. `mean` and `std` are for all channels, or for red, green and blue.
    """

    dataset: Identifier
    by: Literal["mmseg", "rstrudel"] = "mmseg"
    scale: Pair
    crop: Count
    stride: Count
    mean: Channels
    std: Annotated[Channels, AfterValidator(_positive)]
    published_scale: Pair | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _covers(self) -> "Protocol":
        if self.stride > self.crop:
            raise ValueError("stride is larger than crop: windows would leave gaps")
        return self


class Reported(Record):
    """The publisher's figures: mIoU in percent to so many `decimals`, images a second, gigabytes of memory in *training*."""

    miou: Percent
    miou_ms_flip: Percent | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 2
    fps: Positive | None = None
    train_memory_gb: Positive | None = None
    device: Text | None = None
    source: Url

    def of(self, mode: str) -> float | None:
        """The mIoU reported for a mode; published ms+flip figures are MMSegmentation 0.x's."""
        return {"ss": self.miou, "ms+flip": self.miou_ms_flip}.get(mode)


class Counts(Record):
    """Per-image pixel counts that the reference implementation measured; `keys` says where in the file, for each mode."""

    file: Artifact
    keys: dict[Mode, Text]


class Model(Record):
    title: Text
    licence: Text | None = None
    checkpoint: Artifact
    backbone: ModelBackbone
    head: Head
    protocol: Protocol
    reported: Reported | None = None
    counts: Counts | None = None
    pretrained: Identifier | None = None
    config: Url | None = None
    log: Url | None = None

    @property
    def artifact(self) -> Artifact:
        return self.checkpoint

    @property
    def geometry(self) -> Sizes:
        sides = {name: getattr(self.backbone, name) for name in ("width", "depth", "heads", "mlp", "patch", "classes")}
        return Sizes(**sides, grid=self.backbone.image // self.backbone.patch)

    @property
    def eps(self) -> float:
        """Of the backbone's layer norms, as a backbone's own entry has it."""
        return self.backbone.eps

    @property
    def resample(self) -> str:
        """How the program that made it resizes position embeddings to another grid."""
        return "bilinear" if self.protocol.by == "rstrudel" else "bicubic"

    @property
    def decoder(self) -> Decoder:
        width = self.backbone.width if self.head.kind == "mask" else None
        return Decoder(self.head.kind, self.head.classes, self.head.depth or 0, width, self.head.mlp, self.head.heads)


Entry = Backbone | Model


class Zoo(Record):
    """A manifest: data sets, backbones and models, each by the name that commands take."""

    version: Annotated[Literal[1], BeforeValidator(_integer)]
    datasets: dict[Identifier, Dataset] = {}
    backbones: dict[Identifier, Backbone] = {}
    models: dict[Identifier, Model] = {}

    def misfits(self) -> Iterator[tuple[strict_yaml.Where, str]]:
        """Where its parts do not fit together, and what is wrong there; a record alone cannot tell, since manifests are merged."""
        for name, model in self.models.items():
            dataset = self.datasets.get(model.protocol.dataset)
            if dataset is None:
                yield ("models", name, "protocol", "dataset"), f"no data set '{model.protocol.dataset}' in this zoo"
            elif len(dataset.classes) != model.head.classes:
                yield ("models", name, "head", "classes"), f"{model.head.classes}, but data set '{model.protocol.dataset}' has {len(dataset.classes)}"
            if model.pretrained is not None and model.pretrained not in self.backbones:
                yield ("models", name, "pretrained"), f"no backbone '{model.pretrained}' in this zoo"
        for kind, others in (("backbones", self.datasets), ("models", {**self.datasets, **self.backbones})):
            for name in getattr(self, kind):
                if name in others:
                    yield (kind, name), "this name stands for two things"

    @property
    def entries(self) -> dict[str, Entry]:
        """What `verify` can climb: backbones, then models."""
        return {**self.backbones, **self.models}

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """All that can be fetched: entries and archives by name, what goes with them by file name."""
        archives = {name: dataset.archive for name, dataset in self.datasets.items() if dataset.archive}
        published = [backbone.published for backbone in self.backbones.values() if backbone.published]
        counts = [model.counts.file for model in self.models.values() if model.counts]
        entries = {name: entry.artifact for name, entry in self.entries.items()}
        return {**entries, **archives, **{artifact.name: artifact for artifact in (*published, *counts)}}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What somebody should know of one field of a manifest."""

    path: Path
    line: int
    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.field}: {self.message}"

    @property
    def error(self) -> UsageError:
        return UsageError(str(self), self.hint)


@dataclass(frozen=True, slots=True)
class Source:
    """A manifest as it was read. `complaints` are about its fields one by one; where there are any, `zoo` is None."""

    path: Path
    lines: strict_yaml.Lines
    zoo: Zoo | None
    complaints: tuple[Complaint, ...] = ()

    def at(self, where: strict_yaml.Where, message: str, hint: str | None = None) -> Complaint:
        """A complaint about a field, or about the nearest around it that is written down."""
        shown = where
        while shown not in self.lines and shown:
            shown = shown[:-1]
        return Complaint(self.path, self.lines[shown], strict_yaml.dotted(where), message, hint)


def examine(path: Path) -> Source:
    """The manifest at `path` and every complaint about its fields. Raises UsageError where it is no YAML, or NotFoundError."""
    plain, lines = strict_yaml.read(path)
    try:
        return Source(path, lines, Zoo.model_validate(plain))
    except ValidationError as invalid:
        unread = Source(path, lines, None)
        return Source(path, lines, None, tuple(unread.at(*fault) for fault in faults(invalid, Zoo, lines)))


def load(path: Path) -> Zoo:
    """The manifest at `path`, which needs no other. Raises UsageError with `file:line` and field, or NotFoundError."""
    source = examine(path)
    if source.zoo is None:
        raise source.complaints[0].error
    for where, message in source.zoo.misfits():
        raise source.at(where, message).error
    return source.zoo


def schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, for editors and other tools; `zoo.schema.json` is it."""
    plain = Zoo.model_json_schema()
    for kind in ("datasets", "backbones", "models"):
        plain["properties"][kind]["additionalProperties"] = False  # beside the pattern that names must have
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain}
