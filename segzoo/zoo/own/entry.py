"""What a file of one's own is, in a manifest's words: each fact from the caller, else from the file, else from an entry of the zoo like it.

Whatever is not measured has a note that says where it comes from. Where the file and the entry differ, `apart` says so.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.said import plain, shown
from segzoo.datasets.classes import described, fits
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.layouts import HEADS, NECKS
from segzoo.layouts.family import Head
from segzoo.manifest.built import BACKBONE, SIZES
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Backbone, Model
from segzoo.text import listed
from segzoo.zoo.own.kin import chosen_backbone, chosen_model, same_width

_WORDS = {"heads": "attention heads"}
_PROTOCOL = ("scale", "crop", "stride", "mean", "std")
_PAIRS = ("crop", "stride")


@dataclass(frozen=True)
class Wishes:
    """What the caller says about a file: attention heads, data set, the entry of the zoo that it is like, name, title, its config.

    A `strict` caller accepts as `like` only an entry of the same geometry, but for the number of classes.
    """

    heads: int | None = None
    dataset: str | None = None
    like: str | None = None
    name: str | None = None
    title: str | None = None
    config: Path | None = None
    strict: bool = False


@dataclass
class Description:
    """The fields of an entry but for its artifact and title, in plain form; `like` is the entry that facts were taken from, if any.

    `notes` say for each section where its facts come from. `apart` has the contradictions.
    """

    like: str | None
    plain: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)


class _Facts:
    """Takes facts for one section, and remembers where each comes from."""

    def __init__(self, file: Checkpoint, section: str, like: str | None, into: Description):
        self.said, self.section, self.like, self.into = file.said, section, like, into
        self.of_file: dict[str, list[str]] = {}
        self.assumed: dict[str, list[str]] = {}

    def take(self, name: str, entrys: Any, otherwise: Any = None, why: str = "") -> Any:
        """A fact: what the file says, else what the entry has, else `otherwise`, for the reason `why`. None where none of them knows."""
        key = f"{self.section}.{name}"
        if key in self.said:
            fact = self.said.facts[key]
            value = _one(fact.value) if name in _PAIRS else fact.value
            if entrys is not None and plain(entrys) != plain(value):
                self.into.apart.append(f"{key}: {shown(value)} by {fact.source}, but {shown(entrys)} in {self.like}: the file's own is used")
            self.of_file.setdefault(fact.source.split(": ")[0], []).append(name)
            return value
        value, source = (entrys, f"as in {self.like}") if entrys is not None else (otherwise, why)
        if value is not None:
            self.assumed.setdefault(source, []).append(name)
        return value

    def note(self) -> None:
        """Write down where the facts of this section come from."""
        names = [name for some in self.assumed.values() for name in some]
        each = [source if len(self.assumed) == 1 else f"{listed(some)} {source}" for source, some in self.assumed.items()]
        parts = [f"{listed(names)} {'is' if len(names) == 1 and names != ['heads'] else 'are'} assumed: {', '.join(each)}"] if names else []
        parts += [f"{listed(some)} as {source} says" for source, some in self.of_file.items()]
        if parts:
            self.into.notes[self.section] = "; ".join(parts)


def _one(value: Any) -> Any:
    """Two equal sides as one number."""
    return value[0] if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] else value


def describe_backbone(file: Checkpoint, path: Path, entries: Mapping[str, Backbone], wishes: Wishes, known: str | None = None) -> Description:
    """A backbone's geometry and eps. `known` names the entry whose own file this is.

    Raises UsageError where nobody says what no tensor shows, and where the entries like it differ; NotFoundError for an unknown --like.
    """
    if wishes.dataset:
        raise UsageError(f"{path}: it is a backbone, and a backbone has no data set", hint="leave --dataset out")
    _refuse_unlike(file.unlike, path)
    geometry = file.family.describe(file.geometry)
    like = chosen_backbone(file, path, entries, geometry, wishes.like, wishes.strict, known)
    entry = entries[like] if like else None
    made = Description(like)
    facts = _Facts(file, "backbone", like, made)
    for side in [side for side, value in geometry.items() if value is None]:
        geometry[side] = facts.take(side, getattr(entry.geometry, side, None) if entry else None)
        if geometry[side] is None:
            said = f"{path}: {file.geometry}: no tensor shows its {_WORDS.get(side, side)}"
            raise UsageError(said, hint=f"say --config FILE of its training, --like NAME of a backbone that shares it, or {_adding(side)}")
    geometry |= _unusual(file, facts, file.family.sizes, entry and entry.geometry, geometry)
    facts.note()
    _note_square(file, made)
    if "backbone" in made.notes:
        made.notes["geometry"] = made.notes.pop("backbone")
    facts = _Facts(file, "backbone", like, made)
    eps = facts.take("eps", entry.eps if entry else None, file.family.eps, f"that of {file.family.eps_of}")
    if not file.recorded.eps:
        made.notes["eps"] = f"as {next(iter(facts.of_file))} says" if facts.of_file else f"assumed: {next(iter(facts.assumed))}"
    family = {} if file.family.name == SIZES.default else {SIZES.tag: file.family.name}
    made.plain = {"geometry": family | geometry, "eps": eps}
    return made


def describe_model(file: Checkpoint, path: Path, manifest: Manifest, wishes: Wishes, known: str | None = None) -> Description:
    """A model's backbone, head, protocol and classes. `known` names the entry whose own file this is.

    Raises UsageError where nobody says what no tensor shows, and where the entries like it differ; NotFoundError for an unknown --like or
    --dataset; ConversionError where the file's config says that its program does what segzoo does not.
    """
    _refuse_unlike(file.said.unlike, path)
    like = chosen_model(file, path, manifest, wishes.like, wishes.strict, known)
    model = manifest.models[like] if like else None
    made = Description(like)
    backbone = _backbone(file, path, model, wishes, made)
    parts = _parts(file, path, model, wishes, backbone, made)
    protocol, classes = _protocol(file, path, model, wishes, made), _classes(file, path, manifest, model, wishes, made)
    dataset = classes.pop("dataset", None)
    made.plain = {"backbone": backbone, **parts, "protocol": ({"dataset": dataset} if dataset else {}) | protocol, **classes}
    return made


def _refuse_unlike(unlike: Collection[str], path: Path) -> None:
    """Raises ConversionError where a file's config says that its program does what segzoo does not."""
    if unlike:
        raise ConversionError(
            f"{path}: {'; '.join(unlike)}; segzoo does otherwise, so its pictures and figures would be wrong",
            hint="where this does not hold for the file, give a whole config that says so with --config",
        )


def _note_square(file: Checkpoint, made: Description) -> None:
    """A note that the positions are taken for a square, if nobody says how they lie."""
    if file.square:
        made.notes["backbone"] = "; ".join(filter(None, (made.notes.get("backbone"), file.square)))


def _lacks(path: Path, file: Checkpoint, what: str, hint: str) -> UsageError:
    """The error for a fact that neither the caller, nor the file, nor an entry of the zoo says."""
    notes = "".join(f"; {note}" for note in file.said.notes)
    return UsageError(f"{path}: {file.geometry}: {what}{notes}", hint)


def _backbone(file: Checkpoint, path: Path, model: Model | None, wishes: Wishes, made: Description) -> dict[str, Any]:
    backbone = file.family.describe_model(file.geometry)
    like = model if model and same_width(file, model) else None
    facts = _Facts(file, "backbone", made.like, made)
    if (fact := file.said.facts.get("backbone.heads")) and backbone.get("heads") not in (None, fact.value):
        made.apart.append(f"backbone.heads: {fact.value} by {fact.source}, but {backbone['heads']} as given or shown by the tensors, which is used")
    for side in [side for side, value in backbone.items() if value is None]:
        backbone[side] = facts.take(side, model and model.eps if side == "eps" else like and getattr(like.backbone, side, None))
        if backbone[side] is None:
            what = f"no tensor shows its {_WORDS.get(side, side)}" + (f", and {made.like} is of another width" if model else _ALONE)
            raise _lacks(path, file, what, f"say {_way(side, model is None, wishes)}")
    backbone |= _unusual(file, facts, file.family.backbone, like and like.backbone, backbone)
    facts.note()
    _note_square(file, made)
    return ({} if file.family.name == BACKBONE.default else {BACKBONE.tag: file.family.name}) | backbone


def _unusual(file: Checkpoint, facts: _Facts, record: type, like: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a backbone's record that no tensor shows and that have a usual value: those where the file, or the record that it is like, says
    otherwise.
    """
    measured = {one.name for one in fields(file.geometry)} - set(file.geometry.hidden)
    found: dict[str, Any] = {}
    for one in fields(record):
        if one.default is MISSING or one.name in {*measured, *known}:
            continue
        usual = one.default
        theirs = getattr(like, one.name, usual) if like else usual
        if theirs != usual or file.said.get(f"backbone.{one.name}") not in (None, usual, file.family.usual(file.geometry).get(one.name)):
            value = facts.take(one.name, None if theirs == usual else theirs)
            found |= {} if value == usual else {one.name: value}
    return found


_ALONE = ", its file does not say, and it is like no model of this zoo"


def _way(side: str, alone: bool, wishes: Wishes) -> str:
    """How a caller says a fact."""
    ways = ["--config FILE of its training"]
    ways += ["--like NAME of a model that shares its eps and protocol"] if alone and not wishes.strict else []
    return " or ".join([*ways, *([_adding(side)] if side == "heads" else [])])


def _adding(side: str) -> str:
    """Where the fact itself can be said: to the one command that takes a number, or in a manifest."""
    return f"--{side} N to segzoo manifest add" if side != "activation" else "'activation: gelu' or 'activation: quick_gelu' in a manifest's entry"


def _parts(
    file: Checkpoint, path: Path, model: Model | None, wishes: Wishes, backbone: Mapping[str, Any], made: Description
) -> dict[str, dict[str, Any]]:
    """The neck, if there is one, and the head."""
    found = {}
    for section, part, kinds in (("neck", file.geometry.neck, NECKS), ("head", file.geometry.decoder, HEADS)):
        if part is not None:
            kind = kinds[part.kind]
            entrys = model and getattr(model, section)
            same_kind = entrys if entrys and entrys.named == kind.name else None
            found[section] = {"kind": kind.name} | _part(file, path, section, kind, part, same_kind, model, wishes, backbone, made)
    return found


def _part(
    file: Checkpoint,
    path: Path,
    section: str,
    kind: Head,
    part: Any,
    entrys: Any,
    model: Model | None,
    wishes: Wishes,
    backbone: Mapping[str, Any],
    made: Description,
) -> dict[str, Any]:
    """The fields of a neck or head. `entrys` is that of the entry that facts are taken from, if it is of the same kind."""
    fields = kind.describe(part)
    same = entrys if model and entrys and same_width(file, model) else None
    facts = _Facts(file, section, made.like, made)
    every = f"as in every {kind.name} {section} known"
    for side in [side for side, value in fields.items() if value is None]:
        if side == "eps":
            fields[side] = facts.take(side, getattr(entrys, side, None), kind.eps, every)
        elif side in kind.usual:
            fields[side] = facts.take(side, getattr(same, side, None), kind.usual[side], every)
        else:
            fields[side] = facts.take(side, getattr(same, side, None), backbone.get(side), "as those of the backbone")
        if fields[side] is None:
            raise _lacks(path, file, f"no tensor shows the {side} of its {section}", f"say {_way(side, True, wishes)}")
    facts.note()
    return fields


def _protocol(file: Checkpoint, path: Path, model: Model | None, wishes: Wishes, made: Description) -> dict[str, Any]:
    """The protocol without its data set. Equal channels are written as one number."""
    facts = _Facts(file, "protocol", made.like, made)
    layouts = "rstrudel" if file.found.layout.name == "segmenter" else "mmseg"
    by = facts.take("by", model and model.protocol.by, layouts, f"that of layout {file.found.layout.name}")
    found: dict[str, Any] = {} if by == "mmseg" else {"by": by}
    for side in _PROTOCOL:
        value = facts.take(side, model and getattr(model.protocol, side))
        if value is None and f"protocol.{side}" not in file.said and (model is None or getattr(model.protocol, side) is not None):
            raise _lacks(path, file, f"nothing says the {side} of its protocol", f"say {_way(side, True, wishes)}")
        found[side] = value[0] if side in ("mean", "std") and len(set(value)) == 1 else value
    if file.said.get("protocol.multiple") or (model and model.protocol.multiple):
        multiple = facts.take("multiple", model and model.protocol.multiple)
        found |= {"multiple": multiple} if multiple else {}
    if (threshold := file.said.get("protocol.threshold")) is not None and file.geometry.decoder and file.geometry.decoder.classes == 1:
        found["threshold"] = facts.take("threshold", model and model.protocol.threshold) or threshold
    if (least := facts.take("min_size", model and model.protocol.min_size)) is not None:
        found["min_size"] = least
    padded = file.said.get("protocol.pad") or (model and model.protocol.pad)
    if padded and (pad := facts.take("pad", model and model.protocol.pad)):
        found["pad"] = pad
    facts.note()
    return found


def _classes(file: Checkpoint, path: Path, manifest: Manifest, model: Model | None, wishes: Wishes, made: Description) -> dict[str, Any]:
    """The data set, or the classes themselves where the file names others than any data set has."""
    decoder = file.geometry.decoder
    assert decoder is not None
    outputs, datasets = decoder.classes, manifest.datasets
    names = file.said.get("classes")
    source = file.said.facts["classes"].source if names else ""
    if names and not fits(outputs, len(names)):
        made.apart.append(f"classes: {source} names {len(names)}, but the head has {outputs}: the names are not used")
        names = None
    if wishes.dataset:
        _check(path, wishes.dataset, manifest, outputs)
        theirs = tuple(datasets[wishes.dataset].classes)
        _refuse_other_order(path, file, names, wishes.dataset, datasets[wishes.dataset].classes)
        if names and tuple(names) != theirs:
            made.apart.append(f"classes: {shown(names)} by {source}, but {shown(theirs)} in {wishes.dataset}, which you name")
        if "protocol" in made.notes:
            made.notes["protocol"] += ", but for the data set"
        return {"dataset": wishes.dataset}
    likes = model and model.protocol.dataset
    if names:
        ordered = [*([likes] if likes else []), *datasets]
        if same := next((one for one in ordered if tuple(datasets[one].classes) == tuple(names)), None):
            made.notes["classes"] = f"as {source} says, those of data set {same}"
            return {"dataset": same}
        theirs = tuple(manifest.classes_of(model)) if model else ()
        if len(theirs) == len(names):
            made.apart.append(f"classes: {shown(names)} by {source}, but {shown(theirs)} in {made.like}: the file's own are used")
        colours = file.said.get("palette")
        colours = colours if colours and len(colours) == len(names) else None
        made.notes["classes"] = f"as {source} says" + ("" if colours else "; it has no colour for each, so these are made up")
        return {"classes": described(outputs, names, colours)}
    if model and made.like and len(own := manifest.classes_of(model)) == max(outputs, 2):
        made.notes["classes"] = f"assumed: as in {made.like}"
        return {"dataset": likes} if likes else {"classes": own}
    made.notes["classes"] = "nothing names them, so they are numbered" if outputs > 1 else "nothing names them"
    return {"classes": described(outputs)}


def _refuse_other_order(path: Path, file: Checkpoint, names: Any, dataset: str, classes: Mapping[str, tuple[int, int, int]]) -> None:
    """Raises UsageError if a file has the classes of a data set in another order, by their names or by their colours."""
    colours = [tuple(colour) for colour in file.said.get("palette") or ()]
    for what, mine, theirs in (("names", list(names or ()), list(classes)), ("colours", colours, list(classes.values()))):
        if mine != theirs and len(set(mine)) == len(mine) and sorted(mine) == sorted(theirs):
            hint = "give the data set's classes in the manifest the order of the file's: label i of the file is class i"
            raise UsageError(
                f"{path}: its classes are those of {dataset} in another order, by their {what}: {shown(mine)}, not {shown(theirs)}", hint
            )


def _check(path: Path, name: str, manifest: Manifest, outputs: int) -> None:
    """Raises NotFoundError for a data set that is not in the zoo, UsageError for one with another number of classes."""
    datasets = manifest.datasets
    fitting = [one for one, dataset in datasets.items() if fits(outputs, len(dataset.classes))]
    hint = f"say --dataset NAME; data sets with {outputs} classes: {', '.join(fitting)}" if fitting else "describe the data set in the manifest first"
    if name not in datasets:
        raise NotFoundError(f"--dataset {name}: no such data set; there are {', '.join(datasets)}", hint)
    if name not in fitting:
        raise UsageError(f"{path}: {outputs} classes, but data set {name} has {len(datasets[name].classes)}", hint)


def notes_of(file: Checkpoint, made: Description) -> Iterator[str]:
    """All that is assumed, each in a sentence, and what of the file's own words could not be read."""
    yield from (f"{section}: {note}" for section, note in made.notes.items() if section)
    yield from file.said.notes
