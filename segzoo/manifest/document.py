"""What a manifest file holds, as frozen records; every complaint names file, line and field.

The records define the schema: types are strict, unknown fields are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from segzoo.datasets.classes import fits, scored
from segzoo.errors import NotFoundError, UsageError
from segzoo.manifest.artifact import Artifact, Record
from segzoo.manifest.entries import Backbone, Dataset, Entry, Model, Release
from segzoo.manifest.faults import faults
from segzoo.manifest.fields import Identifier
from segzoo.manifest.strict_yaml import Lines, Where, dotted, read_yaml


def packaged(name: str) -> Path:
    """A file that ships with segzoo. A wheel has it inside the package, a checkout beside the package."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package, package.parent):
        if (folder / name).exists():
            return folder / name
    raise NotFoundError(f"{name} is not in this installation of segzoo", hint="reinstall segzoo")


def _integer(value: Any) -> Any:
    if type(value) is not int:  # True and 1.0 equal 1
        raise ValueError("must be the number 1")
    return value


class Manifest(Record):
    """A manifest: data sets, backbones, models and releases of many files, each by the name that commands take."""

    model_config = ConfigDict(title="Zoo")  # the title in the published schema
    version: Annotated[Literal[1], BeforeValidator(_integer)]
    datasets: dict[Identifier, Dataset] = Field({})
    backbones: dict[Identifier, Backbone] = Field({})
    models: dict[Identifier, Model] = Field({})
    releases: dict[Identifier, Release] = Field({})

    def misfits(self) -> Iterator[tuple[Where, str]]:
        """Each place where entries do not fit together, and what is wrong there.

        No record checks this, because an entry may refer to one in another manifest.
        """
        for name, one in self.datasets.items():
            for where, message in one.contradictions():
                yield ("datasets", name, *where), message
        for name, model in self.models.items():
            named, outputs = model.protocol.dataset, model.head.classes
            dataset = self.datasets.get(named) if named is not None else None
            if named is None and model.classes is None:
                yield ("models", name, "classes"), "neither the model nor a data set (protocol.dataset) says what its classes are"
            if named is not None and dataset is None:
                yield ("models", name, "protocol", "dataset"), f"no data set '{named}' in this zoo"
            if dataset is not None and not fits(outputs, len(dataset.classes)):
                yield ("models", name, "head", "classes"), f"{outputs}, but data set '{named}' has {len(dataset.classes)}"
            if model.classes is not None and not fits(outputs, len(model.classes)):
                yield ("models", name, "head", "classes"), f"{outputs}, but the model names {len(model.classes)} classes"
            for field, message in model.witness.misfits(outputs, model.backbone.channels) if model.witness else ():
                yield ("models", name, "witness", field), message
            if model.pretrained is not None and model.pretrained not in self.backbones:
                yield ("models", name, "pretrained"), f"no backbone '{model.pretrained}' in this zoo"
        for kind, others in (
            ("backbones", self.datasets),
            ("models", {**self.datasets, **self.backbones}),
            ("releases", {**self.datasets, **self.entries}),
        ):
            for name in getattr(self, kind):
                if name in others:
                    yield (kind, name), "this name stands for two things"

    def classes_of(self, model: Model) -> dict[str, tuple[int, int, int]]:
        """The classes that a model of this manifest tells apart, each with its colour: its own, else those of its data set."""
        return scored(model.head.classes, model.classes or self.datasets[str(model.protocol.dataset)].classes)

    @property
    def entries(self) -> dict[str, Entry]:
        """Everything that `verify` can check: backbones, then models."""
        return {**self.backbones, **self.models}

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """Everything that can be fetched: entries, archives and indexes of releases by their names, all other files by their file names, shards
        behind their entry's.
        """
        archives = {name: dataset.archive for name, dataset in self.datasets.items() if dataset.archive}
        published = [backbone.published for backbone in self.backbones.values() if backbone.published]
        counts = [model.counts.file for model in self.models.values() if model.counts]
        elsewhere = [artifact for model in self.models.values() for artifact in model.elsewhere]
        entries = {name: entry.artifact for name, entry in self.entries.items()}
        shards = {f"{name}/{shard.name}": shard for name, artifact in entries.items() for shard in artifact.shards}
        indexes = {name: release.index for name, release in self.releases.items()}
        return {**entries, **shards, **archives, **indexes, **{artifact.name: artifact for artifact in (*published, *counts, *elsewhere)}}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A problem with one field of a manifest."""

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
    """A manifest as it was read. `complaints` are about single fields; if there are any, `manifest` is None."""

    path: Path
    lines: Lines
    manifest: Manifest | None
    complaints: tuple[Complaint, ...] = ()

    def at(self, where: Where, message: str, hint: str | None = None) -> Complaint:
        """A complaint about a field. A field that is not in the file has the line of the nearest field around it."""
        written = where
        while written not in self.lines and written:
            written = written[:-1]
        return Complaint(self.path, self.lines[written], dotted(where), message, hint)


def examine(path: Path) -> Source:
    """The manifest at `path`, and every complaint about its fields. Raises UsageError where the file is not YAML, and NotFoundError."""
    plain, lines = read_yaml(path)
    try:
        return Source(path, lines, Manifest.model_validate(plain))
    except ValidationError as invalid:
        unread = Source(path, lines, None)
        return Source(path, lines, None, tuple(unread.at(*fault) for fault in faults(invalid, Manifest, lines)))


def load_manifest(path: Path) -> Manifest:
    """The manifest at `path`, used without any other. Raises UsageError with `file:line` and field, or NotFoundError."""
    source = examine(path)
    if source.manifest is None:
        raise source.complaints[0].error
    for where, message in source.manifest.misfits():
        raise source.at(where, message).error
    return source.manifest


def schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, for editors and other tools. `zoo.schema.json` is a copy of it."""
    plain = Manifest.model_json_schema()
    for kind in ("datasets", "backbones", "models", "releases"):
        plain["properties"][kind]["additionalProperties"] = False  # the pattern for names alone would allow other names
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain}
