"""What a manifest has entries for: data sets, backbones, models."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from segzoo.datasets.loaders import LOADERS
from segzoo.layouts.vit.geometry import Decoder, Geometry
from segzoo.manifest.artifact import Artifact, Record
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


def geometry_of(entry: Entry) -> Geometry:
    """The geometry that an entry's own file must have."""
    return entry.geometry.geometry(entry.decoder if isinstance(entry, Model) else None)
