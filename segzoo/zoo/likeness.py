"""Which entry a file of weights is. An entry's own file is checked against the layout, geometry and dtype in the manifest. A file of one's
own becomes an entry: what no tensor shows is said by the caller, else by the file, else by an entry of the zoo that it is like.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.conversion.said import shown
from segzoo.datasets.classes import Classes
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.formats import naming
from segzoo.formats.shards import standing_for
from segzoo.manifest.entries import Backbone, Entry, Model
from segzoo.vocabulary import DTYPES
from segzoo.zoo.names import known_name, resolve
from segzoo.zoo.opened import completed, disagreements, open_entry
from segzoo.zoo.own.entry import Description, Wishes, describe_backbone, describe_model, notes_of
from segzoo.zoo.own.kin import hidden_facts, known_as
from segzoo.zoo.zoo import ByteProgress, Zoo

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched


@dataclass(frozen=True)
class Matched:
    """A file, and the entry of the zoo that it is, or the entry that was made for it. `name` is the user's name for the file.

    `like` is the entry that facts were taken from; None where the file says all itself. `fetched` says how an entry's own file was fetched;
    it is None for a file of one's own. `classes` are a model's. `assumed` says where each fact comes from, `apart` where the file and the
    zoo differ.
    """

    name: str
    like: str | None
    entry: Entry
    file: Checkpoint
    fetched: "Fetched | None" = None
    classes: Classes = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def match_entry(
    source: str | Path, zoo: Zoo, among: Mapping[str, Entry], like: str | None, said: ByteProgress, config: Path | None = None
) -> Matched:
    """The file and the entry that `source` names: one of the entries `among`, or a file of one's own in any layout.

    `like` names the entry from which to take what neither tensors nor file say. `config` is the file's own config. Raises NotFoundError,
    UsageError where nobody says what is needed, or several entries fit and they differ, ConversionError for a file that is no such model,
    and what fetching raises.
    """
    if isinstance(source, str) and (source in among or not Path(source).exists()) and (name := known_name(source, among)):
        source, entry = name, among[name]
        if config is not None:
            raise UsageError(f"--config {config}: {source} is of the zoo, whose manifest says what a config would", hint="leave --config out")
        fetched = zoo.fetch(entry.artifact, said)
        with naming(fetched.path, source):
            file = open_entry(entry, fetched.path)
        return Matched(source, source, entry, file, fetched, _classes(zoo, entry), apart=_apart(zoo, file, entry))
    path = standing_for(Path(source))
    if not path.is_file():
        resolve(zoo, [str(source)], False, among)  # its error names the nearest entry
        raise NotFoundError(f"{source}: no such file")
    if like is not None:
        resolve(zoo, [like], False, among)
    with naming(path):
        file = identify(path, config=config)
        if file.geometry.decoder is None and all(isinstance(entry, Model) for entry in among.values()):
            raise ConversionError("a backbone without a head gives no classes of pixels", hint="segzoo inspect shows what is in a file")
        known = None if like or config else known_entry(file, path, among)
        if known:
            entry = among[known]
            whole = completed(file, entry)
            told = (f"its sha256 is that of {known}: it is that model",)
            return Matched(str(source), known, entry, whole, None, _classes(zoo, entry), told, _apart(zoo, file, entry))
        return _own(source, path, file, zoo, Wishes(like=like, strict=True))


def known_entry(file: Checkpoint, path: Path, among: Mapping[str, Entry]) -> str | None:
    """The entry whose own file this is. Raises UsageError where several entries have this file and they differ."""
    names = known_as(file, among)
    if len({str(hidden_facts(among[name])) for name in names}) > 1:
        hint = "they differ in facts that no tensor shows: choose one with --like NAME, or like= in Python"
        raise UsageError(f"{path}: {file.geometry}: like {' and like '.join(names)}", hint)
    return next(iter(names), None)


def _own(source: str | Path, path: Path, file: Checkpoint, zoo: Zoo, wishes: Wishes) -> Matched:
    """A file of one's own, with the entry made for it."""
    manifest = zoo.manifest
    if file.geometry.decoder is None:
        made = describe_backbone(file, path, manifest.backbones, wishes)
    else:
        made = describe_model(file, path, manifest, wishes)
    entry = made_entry(file, made)
    return Matched(str(source), made.like, entry, completed(file, entry), None, _classes(zoo, entry), tuple(notes_of(file, made)), tuple(made.apart))


def made_entry(file: Checkpoint, made: Description, artifact: Mapping[str, Any] | None = None) -> Entry:
    """The entry that a description makes. Raises UsageError where what the file says does not fit together."""
    dtype = file.dtypes[0] if len(file.dtypes) == 1 and file.dtypes[0] in DTYPES else "float32"
    facts = artifact or {"name": "own", "layout": file.found.layout.name, "dtype": dtype, "urls": ("own",)}
    if file.geometry.decoder is None:
        return Backbone.model_validate({"title": "own", "file": "own.pth", "source": facts, **made.plain})
    try:
        return Model.model_validate({"title": "own", "checkpoint": facts, **made.plain})
    except ValueError as error:  # pydantic's
        first = error.errors()[0]  # type: ignore[attr-defined]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        raise UsageError(
            f"{file.weights.path}: what its config says does not fit together: {said}", hint="give the right config with --config"
        ) from error


def _apart(zoo: Zoo, file: Checkpoint, entry: Entry) -> tuple[str, ...]:
    """Where a file says something else of itself than its entry does."""
    classes, names = tuple(_classes(zoo, entry)), file.said.get("classes")
    other = [f"classes: {shown(classes)} in the manifest, which are used, but {shown(names)} by {file.said.facts['classes'].source}"] if names else []
    return (*disagreements(file, entry), *(other if names and tuple(names) != classes else []))


def _classes(zoo: Zoo, entry: Entry) -> Classes:
    return zoo.manifest.classes_of(entry) if isinstance(entry, Model) else {}
