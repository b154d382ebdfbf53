"""What a manifest has entries for: data sets, backbones, models."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from segzoo.datasets.loaders import LOADERS
from segzoo.layouts import FAMILIES
from segzoo.layouts.family import Family, Geometry
from segzoo.manifest.artifact import Artifact, Record
from segzoo.manifest.built import BACKBONE, HEAD, SIZES
from segzoo.manifest.fields import Colour, Count, FileName, Folder, Identifier, OneOf, Pair, Percent, Positive, Sha256, Text, Url
from segzoo.vocabulary import MODES, PROGRAMS, SPLITS

Split = Annotated[str, OneOf(SPLITS)]


class Dataset(Record):
    """Images with labels. `path` is a folder relative to the manifest; `archive` is downloaded otherwise; where
    there is neither, `home` says where people get it.

    `classes` maps each class, in label order, to its colour.
    """

    title: Text
    loader: Annotated[str, OneOf(LOADERS)]
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


class Backbone(Record):
    title: Text
    licence: Text | None = None
    file: FileName
    source: Artifact
    published: Artifact | None = None
    geometry: Annotated[Any, SIZES]
    eps: Positive = 1e-6

    @property
    def artifact(self) -> Artifact:
        return self.source


Mode = Annotated[str, OneOf(MODES)]


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
    by: Annotated[str, OneOf(PROGRAMS)] = "mmseg"
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


class StoredCounts(Record):
    """Per-image pixel counts that the reference implementation measured; `keys` says where in the file, for each mode."""

    file: Artifact
    keys: dict[Mode, Text]


class Model(Record):
    title: Text
    licence: Text | None = None
    checkpoint: Artifact
    backbone: Annotated[Any, BACKBONE]
    head: Annotated[Any, HEAD]
    protocol: Protocol
    reported: Reported | None = None
    counts: StoredCounts | None = None
    pretrained: Identifier | None = None
    config: Url | None = None
    log: Url | None = None

    @property
    def artifact(self) -> Artifact:
        return self.checkpoint

    @property
    def eps(self) -> float:
        """Of the backbone's layer norms, as a backbone's own entry has it."""
        return getattr(self.backbone, "eps", FAMILIES[self.backbone.named].eps)

    @property
    def head_eps(self) -> float | None:
        """Of the head's layer norms; None where it has none."""
        return getattr(self.head, "eps", None)

    @property
    def resample(self) -> str:
        """How the program that made it resizes position embeddings to another grid."""
        return "bilinear" if self.protocol.by == "rstrudel" else "bicubic"


Entry = Backbone | Model


def family_of(entry: Entry) -> Family:
    """The family of an entry's backbone."""
    return FAMILIES[(entry.backbone if isinstance(entry, Model) else entry.geometry).named]


def geometry_of(entry: Entry) -> Geometry:
    """The geometry that an entry's own file must have."""
    if not isinstance(entry, Model):
        return entry.geometry.facts.geometry()
    backbone = entry.backbone.facts
    return backbone.geometry(entry.head.facts.geometry(backbone))
