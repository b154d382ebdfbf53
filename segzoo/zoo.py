"""zoo.yaml to frozen records; every complaint names file, line and field.

Read from PyYAML's node tree, so that what YAML would bend in silence is refused: duplicate keys,
aliases, octal and sexagesimal numbers, `no` as a boolean.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from segzoo.errors import NotFoundError, UsageError
from segzoo.geometry import Decoder, Geometry

_MOST_NESTING = 20


def packaged(name: str) -> Path:
    """A file that ships with segzoo: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package, package.parent):
        if (folder / name).exists():
            return folder / name
    raise NotFoundError(f"{name} is not in this installation of segzoo", hint="reinstall segzoo")


def _plain_name(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name needs printable characters, and no control characters")
    if "/" in name or "\\" in name or name in (".", "..") or re.match(r"[A-Za-z]:", name):
        raise ValueError("a name must not have path parts")
    return name


def _inside(path: str) -> str:
    if not path.isprintable() or path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path) or re.match(r"[A-Za-z]:", path):
        raise ValueError("must be a path inside the folder it is relative to")
    return path


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not have control characters")
    return text


def _url(url: str) -> str:
    """http(s), file:, or a path relative to the manifest's folder."""
    if re.match(r"https?://[^/\s]+/", url) or url.startswith("file:"):
        return _printable(url)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
        raise ValueError("must be http, https or file, or a path relative to this file")
    return _inside(url)


def _mirror(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


FileName = Annotated[str, AfterValidator(_plain_name)]
Text = Annotated[str, AfterValidator(_printable)]
Url = Annotated[str, AfterValidator(_url)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Prefix = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
Count = Annotated[int, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Pair = tuple[Count, Count]


class Mirror(Record):
    """One address of an artifact; `unverified` says why it is a candidate only."""

    url: Url
    unverified: Text | None = None


Urls = Annotated[tuple[Annotated[Mirror, BeforeValidator(_mirror, json_schema_input_type=str | Mirror)], ...], Field(min_length=1)]


class Artifact(Record):
    """A file known by its content: full hash, or the eight hex digits that its publisher put into its name."""

    name: FileName
    layout: Literal["augreg", "timm", "mmseg"] | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    size: Count | None = None
    sha256: Sha256 | None = None
    sha256_prefix: Prefix | None = None
    provenance: Text | None = None
    urls: Urls

    @model_validator(mode="after")
    def _agrees(self) -> "Artifact":
        if self.sha256 and self.sha256_prefix and not self.sha256.startswith(self.sha256_prefix):
            raise ValueError("sha256 does not begin with sha256_prefix")
        return self


class Dataset(Record):
    """Images with labels. `path` is a folder relative to the manifest; `archive` is downloaded otherwise.

    `classes` maps each class, in label order, to its colour.
    """

    title: Text
    loader: Literal["ade20k"]
    root: Annotated[str, AfterValidator(_inside)]
    split: Literal["training", "validation"]
    images: Count
    label_rule: Text
    licence: Text | None = None
    path: Annotated[str, AfterValidator(_inside)] | None = None
    archive: Artifact | None = None
    digest: Sha256 | None = None
    classes: dict[Text, tuple[int, int, int]]


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
        return Geometry(self.width, self.depth, self.heads, self.mlp, self.patch, self.grid**2 + 1, self.classes, decoder)


class Backbone(Record):
    title: Text
    file: FileName
    source: Artifact
    published: Artifact | None = None
    geometry: Sizes
    eps: float = 1e-6

    @property
    def artifact(self) -> Artifact:
        return self.source


class ModelBackbone(Record):
    """A Segmenter's backbone; `image` is the side in pixels that its position embeddings are for."""

    width: Count
    depth: Count
    heads: Count
    mlp: Count
    patch: Count
    image: Count
    eps: float

    @model_validator(mode="after")
    def _whole_patches(self) -> "ModelBackbone":
        if self.image % self.patch:
            raise ValueError("image is no multiple of patch")
        return self


class Head(Record):
    kind: Literal["mask", "linear"]
    classes: Count
    depth: Count | None = None
    heads: Count | None = None
    mlp: Count | None = None
    eps: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Head":
        masked = (self.depth, self.heads, self.mlp, self.eps)
        if self.kind == "mask" and None in masked:
            raise ValueError("a mask head needs depth, heads, mlp and eps")
        if self.kind == "linear" and any(value is not None for value in masked):
            raise ValueError("a linear head has no depth, heads, mlp or eps")
        return self


class Protocol(Record):
    """How the figure is measured: resize to `scale` keeping the ratio, slide windows of `crop` by `stride`."""

    dataset: Identifier
    scale: Pair
    crop: Count
    stride: Count
    mean: float
    std: float
    published_scale: Pair | None = None
    note: Text | None = None


class Reported(Record):
    """The publisher's figures: mIoU in percent, images a second, gigabytes of memory in *training*."""

    miou: Percent
    miou_ms_flip: Percent | None = None
    fps: float | None = None
    train_memory_gb: float | None = None
    device: Text | None = None
    source: Url


class Counts(Record):
    """Per-image pixel counts that the reference implementation measured; `key` is where in the file."""

    file: Artifact
    key: Text


class Model(Record):
    title: Text
    checkpoint: Artifact
    backbone: ModelBackbone
    head: Head
    protocol: Protocol
    reported: Reported
    counts: Counts | None = None
    pretrained: Identifier | None = None
    config: Url | None = None
    log: Url | None = None

    @property
    def artifact(self) -> Artifact:
        return self.checkpoint

    @property
    def geometry(self) -> Sizes:
        sides = {name: getattr(self.backbone, name) for name in ("width", "depth", "heads", "mlp", "patch")}
        return Sizes(**sides, grid=self.backbone.image // self.backbone.patch)

    @property
    def decoder(self) -> Decoder:
        width = self.backbone.width if self.head.kind == "mask" else None
        return Decoder(self.head.kind, self.head.classes, self.head.depth or 0, width, self.head.mlp, self.head.heads)


Entry = Backbone | Model


class Zoo(Record):
    """A manifest: data sets, backbones and models, each by the name that commands take."""

    version: Literal[1]
    datasets: dict[Identifier, Dataset] = {}
    backbones: dict[Identifier, Backbone] = {}
    models: dict[Identifier, Model] = {}

    @model_validator(mode="after")
    def _refers(self) -> "Zoo":
        for name, model in self.models.items():
            if model.protocol.dataset not in self.datasets:
                raise ValueError(f"models.{name}.protocol.dataset: no data set '{model.protocol.dataset}' in this file")
            if len(self.datasets[model.protocol.dataset].classes) != model.head.classes:
                raise ValueError(f"models.{name}.head.classes: {model.head.classes}, but the data set has another number of classes")
            if model.pretrained is not None and model.pretrained not in self.backbones:
                raise ValueError(f"models.{name}.pretrained: no backbone '{model.pretrained}' in this file")
        kinds = (self.datasets, self.backbones, self.models)
        if twice := sorted(name for i, kind in enumerate(kinds) for name in kind if any(name in other for other in kinds[i + 1 :])):
            raise ValueError(f"the name '{twice[0]}' stands for two things")
        return self

    @property
    def entries(self) -> dict[str, Entry]:
        """What `verify` can climb: backbones, then models."""
        return {**self.backbones, **self.models}


def load(path: Path) -> Zoo:
    """The manifest at `path`. Raises UsageError with `file:line` and field, or NotFoundError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such manifest") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as text: {error}") from error
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        _refuse_aliases(path, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}:1: expected a mapping with 'version', 'datasets', 'backbones' and 'models'")
    plain = _construct(path, node, (), lines)
    try:
        return Zoo.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}:{_complaint(first, lines)}", _hint(first)) from error


def _refuse_aliases(path: Path, text: str) -> None:
    """No aliases (they can explode) and no deep nesting (it overflows the stack), before a tree is built."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UsageError(f"{path}:{line}: anchors and aliases are not used in a manifest; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_NESTING:
            raise UsageError(f"{path}:{line}: nested more than {_MOST_NESTING} deep")


def _construct(path: Path, node: yaml.Node, where: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(":str"):
                raise UsageError(f"{path}:{line}: {_dotted(where)}: a key must be a text; quote it if it is one")
            if key in mapping:
                raise UsageError(f"{path}:{line}: {_dotted((*where, key))}: this key is there twice")
            lines[(*where, key)] = line
            mapping[key] = _construct(path, value_node, (*where, key), lines)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return tuple(_construct(path, item, (*where, index), lines) for index, item in enumerate(node.value))
    return _scalar(path, node, where)


def _scalar(path: Path, node: yaml.Node, where: tuple[str | int, ...]) -> Any:
    kind, text = node.tag.removeprefix("tag:yaml.org,2002:"), node.value
    match kind:
        case "str":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int" if re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
            return int(text)
        case "float" if re.fullmatch(r"-?[0-9]+\.[0-9]*(e[-+]?[0-9]+)?", text):
            return float(text)
    raise UsageError(f"{path}:{node.start_mark.line + 1}: {_dotted(where)}: YAML reads {text} as {kind}; quote it if it is a text")


def _dotted(where: tuple[str | int, ...]) -> str:
    return ".".join(map(str, where)) or "the top level"


def _complaint(error: Mapping[str, Any], lines: Mapping[tuple[str | int, ...], int]) -> str:
    where = tuple(error["loc"])
    shown = where
    while shown not in lines and shown:
        shown = shown[:-1]
    found = error["input"]
    said = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    message = error["msg"].removeprefix("Value error, ")
    return f"{lines[shown]}: {_dotted(where)}: {message}{said}"


def _hint(error: Mapping[str, Any]) -> str | None:
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return "quote it: a hash must be a text"
    return None
