"""The entries of a manifest: data sets, backbones, models."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from segzoo.datasets.loaders import LOADERS, loader
from segzoo.datasets.sample import Sample
from segzoo.layouts import FAMILIES
from segzoo.layouts.family import Family, Geometry
from segzoo.manifest.artifact import Artifact, Mirror, Record, as_mirror
from segzoo.manifest.built import BACKBONE, HEAD, NECK, SIZES
from segzoo.manifest.fields import (
    Channels,
    Colour,
    Count,
    Deviations,
    FileName,
    Folder,
    Identifier,
    OneOf,
    Pair,
    Percent,
    Positive,
    Sha256,
    Share,
    Side,
    Sides,
    Text,
    Url,
)
from segzoo.manifest.labelling import Folders, Labels
from segzoo.manifest.strict_yaml import Where
from segzoo.manifest.witness import Witness
from segzoo.vocabulary import MODES, PROGRAMS

Classes = dict[Text, tuple[Colour, Colour, Colour]]


class Dataset(Record):
    """Images with labels. `path` is a folder relative to the manifest; without a `path` the `archive` is downloaded.
    Without both, `home` says where people get the data set.

    `classes` maps each class, in label order, to its colour. `labels` says what the values in the label maps mean, where the
    loader does not know it; `label_rule` says it in words, for people. `folders` is for the loader of that name.
    """

    title: Text
    loader: Annotated[str, OneOf(LOADERS)]
    root: Folder
    folders: Folders | None = None
    split: FileName
    images: Count
    other_splits: dict[FileName, Count] = Field(default_factory=dict)
    labels: Labels | None = None
    label_rule: Text | None = None
    licence: Text | None = None
    home: Url | None = None
    path: Folder | None = None
    archive: Artifact | None = None
    digest: Sha256 | None = None
    classes: Classes

    @property
    def counts(self) -> dict[str, int]:
        """The number of pairs in each split that the manifest describes."""
        return {str(split): count for split, count in [*self.other_splits.items(), (self.split, self.images)]}

    @property
    def artifact(self) -> Artifact | None:
        return self.archive

    def loads(self, folder: Path, split: str) -> tuple[Sample, ...]:
        """The samples of a split, as the loader finds them, with the meaning that `labels` states. Raises EnvironmentFault."""
        found = loader(self.loader, self.arrangement)(folder, split)
        return tuple(replace(sample, meaning=self.labels.meaning(self.classes)) for sample in found) if self.labels else found

    @property
    def arrangement(self) -> dict[str, str]:
        """What the loader must know beside the folder and the split."""
        return self.folders.model_dump(exclude_none=True) if self.folders else {}

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Each place where the description of the folders and labels contradicts itself, and what is wrong there."""
        if (self.loader == "folders") is not (self.folders is not None):
            said = "is for the loader 'folders'" if self.folders else "the loader 'folders' needs it: it says where images and labels are"
            yield ("folders",), said
        if self.loader == "folders" and self.labels is None:
            yield ("labels",), "the loader 'folders' needs it: it says what the values in the label maps mean"
        for field, found in (
            ("folders", self.folders.contradictions(len(self.counts)) if self.folders else ()),
            ("labels", self.labels.contradictions(self.classes) if self.labels else ()),
        ):
            for where, message in found:
                yield (field, *where), message


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


THRESHOLD = 0.3
"""Above which a sigmoid means foreground, in mmseg 1.2.2 where a config says nothing else (`BaseDecodeHead`)."""
Mode = Annotated[str, OneOf(MODES)]


class Protocol(Record):
    """How the figure is measured: resize to `scale` keeping the ratio, slide windows of `crop` by `stride`.

    A `scale` of null leaves images at their size; `crop` and `stride` of null take an image in one piece. Both are one number, or height
    and width. With a `multiple`, each side is then brought up to the next multiple of it. `min_size` is the least short side at which ms+flip sees
    an image, where the figure was measured so. `threshold` is that of a model with one output: its sigmoid makes a pixel foreground above it
    (0.3 unless it is given).
    `by` names the program to follow where programs differ: `mmseg` is MMSegmentation, `rstrudel` is
    rstrudel/segmenter. The latter enlarges an image until a window fits, resizes position embeddings
    bilinearly, and takes the softmax at a single scale too. `mean` and `std` are one number for all
    channels, or one each for red, green and blue. `pad` is the multiple to which an image, or a window of it, is padded with zeros after
    normalisation, right and bottom; the scores of the padding are cut off (`size_divisor` in MMSegmentation).
    """

    dataset: Identifier | None = None
    by: Annotated[str, OneOf(PROGRAMS)] = "mmseg"
    scale: Pair | None
    crop: Annotated[Any, Sides()]
    stride: Annotated[Any, Sides()]
    multiple: Side | None = None
    mean: Channels
    std: Deviations
    threshold: Share | None = None
    pad: Side | None = None
    published_scale: Pair | None = None
    min_size: Side | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _covers(self) -> "Protocol":
        crop, stride = self.windows
        if (crop is None) != (stride is None):
            raise ValueError("crop and stride go together: both are numbers, or both are null")
        if crop and stride and (stride[0] > crop[0] or stride[1] > crop[1]):
            raise ValueError("stride is larger than crop: windows would leave gaps")
        if self.by == "rstrudel" and (crop is None or crop[0] != crop[1]):
            raise ValueError("rstrudel/segmenter has square windows")
        if self.by == "rstrudel" and self.pad:
            raise ValueError("pad is for MMSegmentation: rstrudel/segmenter pads to whole patches")
        return self

    @property
    def windows(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Crop and stride, (height, width) each; None each where an image is taken in one piece."""
        crop, stride = ((one, one) if isinstance(one, int) else one for one in (self.crop, self.stride))
        return crop, stride

    @property
    def plain(self) -> dict[str, Any]:
        """As a receipt holds it. Fields that came later are left out where they are not used, so that older receipts stay comparable."""
        later = ("threshold", "multiple", "pad", "min_size")
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in later or value is not None}


FIGURES = {"ss": "miou", "ms+flip": "miou_ms_flip", "ss-32": "miou_32", "ms+flip-32": "miou_ms_flip_32"}
"""The modes that publishers measured, each with the field of its figure."""


class Reported(Record):
    """The publisher's figures: mIoU in percent, rounded to `decimals`; images a second; gigabytes of memory in *training*.

    `miou_32` and `miou_ms_flip_32` are those of images whose sides were brought up to multiples of 32.
    """

    miou: Percent
    miou_ms_flip: Percent | None = None
    miou_32: Percent | None = None
    miou_ms_flip_32: Percent | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 2
    fps: Positive | None = None
    train_memory_gb: Positive | None = None
    device: Text | None = None
    source: Url

    def of(self, mode: str) -> float | None:
        """The mIoU reported for a mode. Published ms+flip figures were measured with MMSegmentation 0.x."""
        return getattr(self, FIGURES[mode]) if mode in FIGURES else None


class StoredCounts(Record):
    """Per-image pixel counts that the reference implementation measured. `keys` names, for each mode, the key in the file."""

    file: Artifact
    keys: dict[Mode, Text]


class Model(Record):
    """A segmentation model. `classes` maps each class to its colour; a model that has them needs no data set.

    A head with one class has one output, which tells a background, the first of two classes, from a foreground. `equivalents` are files that
    hold the tensors of the checkpoint, in another layout, from another source. `witness` is scores of a picture that somebody has published.
    """

    title: Text
    licence: Text | None = None
    checkpoint: Artifact
    equivalents: tuple[Artifact, ...] = ()
    witness: Witness | None = None
    backbone: Annotated[Any, BACKBONE]
    neck: Annotated[Any, NECK] | None = None
    head: Annotated[Any, HEAD]
    protocol: Protocol
    reported: Reported | None = None
    counts: StoredCounts | None = None
    pretrained: Identifier | None = None
    config: Url | None = None
    log: Url | None = None
    classes: Classes | None = None

    @property
    def artifact(self) -> Artifact:
        return self.checkpoint

    @property
    def elsewhere(self) -> tuple[Artifact, ...]:
        """The files that prove more of the checkpoint than it says of itself, from another source: its equivalents, the picture of its witness."""
        return self.equivalents + ((self.witness.picture,) if self.witness else ())

    @property
    def eps(self) -> float:
        """The eps of the backbone's layer norms."""
        return getattr(self.backbone, "eps", FAMILIES[self.backbone.named].eps)

    @property
    def head_eps(self) -> float | None:
        """The eps of the head's layer norms; None where the head has no eps."""
        return getattr(self.head, "eps", None)

    @property
    def labels(self) -> int:
        """How many classes a pixel may have."""
        return max(self.head.classes, 2)

    @property
    def resample(self) -> str:
        """The interpolation by which the model's own program resizes position embeddings to another grid."""
        return getattr(self.backbone, "resample", None) or ("bilinear" if self.protocol.by == "rstrudel" else "bicubic")


class Release(Record):
    """Many files with an index that says what each of them is. `files` is the address of the folder that they lie in."""

    title: Text
    home: Text | None = None
    index: Artifact
    files: Annotated[Mirror, BeforeValidator(as_mirror, json_schema_input_type=str | Mirror)]


Entry = Backbone | Model


def family_of(entry: Entry) -> Family:
    """The family of an entry's backbone."""
    return FAMILIES[(entry.backbone if isinstance(entry, Model) else entry.geometry).named]


def geometry_of(entry: Entry) -> Geometry:
    """The geometry that an entry's own file must have."""
    if not isinstance(entry, Model):
        return entry.geometry.facts.geometry()
    backbone = entry.backbone.facts
    geometry = backbone.geometry(entry.head.facts.geometry(backbone))
    return replace(geometry, neck=entry.neck.facts.geometry(backbone)) if entry.neck else geometry
