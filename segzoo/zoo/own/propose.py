"""The manifest entry for a file of weights: what its tensors show is measured, the rest is taken from an entry like it.

What is taken is marked as assumed in the entry. A reported figure is taken only if the file is the one that the figure was
measured on.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.formats import naming
from segzoo.layouts import HEADS
from segzoo.layouts.family import Family, Geometry
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.built import BACKBONE, SIZES
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Backbone, Dataset, Entry, Model, family_of
from segzoo.manifest.fields import Identifier
from segzoo.manifest.spelling import AFTER
from segzoo.vocabulary import DTYPES
from segzoo.zoo.likeness import alike, assumed, of_the_layout
from segzoo.zoo.opened import open_entry
from segzoo.zoo.own.take import Taken, valid

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)
E = TypeVar("E", Backbone, Model)


@dataclass(frozen=True)
class Wishes:
    """What the caller says about a file: attention heads, data set, the entry of the zoo that it is like, name and title."""

    heads: int | None = None
    dataset: str | None = None
    like: str | None = None
    name: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class Proposal:
    """An entry, and its plain form in written order. `notes` are comments in the manifest, by field; `remarks` are shown to the caller."""

    kind: str
    name: str
    entry: Entry
    plain: Mapping[str, Any]
    notes: Mapping[str, str]
    remarks: tuple[str, ...]
    geometry: Geometry


def propose(taken: Taken, manifest: Manifest, wishes: Wishes) -> Proposal:
    """The entry for a file, from its tensors and the zoo. The file is then checked against it, as `verify` does.

    Raises UsageError where the caller must say what neither the file nor the zoo shows, NotFoundError for a name that is not in
    the zoo, ConversionError for a file that no manifest can describe, and what opening it raises.
    """
    with naming(taken.path):
        file = identify(taken.path, heads=wishes.heads)
        name = valid(_IDENTIFIER, wishes.name or name_of(taken.name))
        case = _Case(taken, file, manifest, wishes)
        plain, notes = _backbone(case, name) if file.geometry.decoder is None else _model(case)
        kind: type[Entry] = Backbone if file.geometry.decoder is None else Model
        entry = kind.model_validate(plain)
        geometry = open_entry(entry, taken.path).geometry
    remarks = (*([taken.remark] if taken.remark else []), *file.weights.notes, *file.found.notes, *_of_the_name(taken))
    notes = {field: notes[field] for field in (*plain, AFTER) if field in notes}  # in written order
    return Proposal("backbones" if file.geometry.decoder is None else "models", name, entry, plain, notes, remarks, geometry)


@dataclass(frozen=True)
class _Case:
    """A file, measured, with the manifest and the wishes that supply what its tensors do not show."""

    taken: Taken
    file: Checkpoint
    manifest: Manifest
    wishes: Wishes

    @property
    def artifact(self) -> dict[str, Any]:
        """The artifact of the file in plain form. Raises ConversionError for tensors of several dtypes, or of a dtype that no manifest can name."""
        dtypes, taken = self.file.dtypes, self.taken
        if len(dtypes) > 1 or dtypes[0] not in DTYPES:
            hint = "segzoo convert --dtype float32 makes a file of one"
            raise ConversionError(f"{taken.path}: tensors in {', '.join(dtypes)}; a manifest can name one dtype for a file", hint)
        facts: dict[str, Any] = {"name": taken.name, "layout": self.file.found.layout.name}
        facts |= {"dtype": dtypes[0]} if dtypes[0] != "float32" else {}
        facts |= {"size": taken.size, "sha256": taken.sha256}
        facts |= {"provenance": taken.provenance} if taken.provenance else {}
        return facts | {"urls": (taken.url,)}

    @property
    def summary(self) -> str:
        return self.file.family.summary(self.file.geometry)


Plain = tuple[dict[str, Any], dict[str, str]]


def _backbone(case: _Case, name: str) -> Plain:
    """A backbone's entry, and the notes on its fields."""
    taken, file, entries, wishes = case.taken, case.file, case.manifest.backbones, case.wishes
    if wishes.dataset:
        raise UsageError(f"{taken.path}: it is a backbone, and a backbone has no data set", hint="leave --dataset out")
    artifact, geometry = case.artifact, file.family.describe(file.geometry)
    kin = {key: one for key, one in entries.items() if family_of(one) is file.family and _kin(one.geometry, geometry, file.family)}
    like = _like(case, kin, entries, lambda one: (*(getattr(one.geometry, hidden) for hidden in file.geometry.hidden), one.eps), "backbone")
    lacking = [field for field, value in geometry.items() if value is None]
    for field in lacking:
        geometry[field] = getattr(entries[like].geometry, field, None) if like else None
        if geometry[field] is None:
            said = f"{taken.path}: {file.geometry}: no tensor shows its {_WORDS.get(field, field)}"
            raise UsageError(said, hint=f"say --{field} N, or --like NAME of a backbone with the same number")
    eps = file.recorded.eps or (entries[like].eps if like else file.family.eps)
    title = wishes.title or f"{file.family.title}, {case.summary}"
    family = {} if file.family.name == SIZES.default else {SIZES.tag: file.family.name}
    plain = {"title": title, "file": f"{name}.mmseg.pth", "source": artifact, "geometry": family | geometry, "eps": eps}
    notes = {"geometry": f"{' and '.join(lacking)} are assumed: as in {like}"} if lacking else {}
    if not file.recorded.eps:
        notes["eps"] = f"assumed: as in {like}" if like else f"assumed: that of {file.family.eps_of}"
    return plain, notes


_WORDS = {"heads": "attention heads"}


def _kin(entry: Any, geometry: Mapping[str, Any], family: Family) -> bool:
    """Whether a backbone has the sizes of the same architecture. Sizes that depend on its training are not compared."""
    return all(getattr(entry, side) == geometry[side] for side in family.kin)


def _model(case: _Case) -> Plain:
    """A model's entry, and the notes on its fields."""
    taken, file, manifest, wishes = case.taken, case.file, case.manifest, case.wishes
    like = _like(case, of_the_layout(file, alike(file, manifest.models)), manifest.models, assumed, "model")
    if like is None:
        said = f"{taken.path}: {file.geometry}: like no model of this zoo, and no tensor shows heads, eps, data set and protocol"
        raise UsageError(said, hint=f"say --like NAME of a model that shares its eps and protocol: {', '.join(manifest.models)}")
    model = manifest.models[like]
    notes: dict[str, str] = {}
    backbone = _model_backbone(case, like, notes)
    dataset = wishes.dataset or model.protocol.dataset
    head = _model_head(case, like, backbone, notes)
    _check_classes(taken, dataset, manifest.datasets, head["classes"], like)
    notes["protocol"] = f"assumed: as in {like}" + (", but for the data set" if wishes.dataset else "")
    title = wishes.title or f"{HEADS[head['kind']].title}, {case.summary}"
    plain = {"title": title, "checkpoint": case.artifact, "backbone": backbone, "head": head, "protocol": _protocol(model, dataset)}
    if model.reported and model.reported.source.startswith("http") and _is(taken, model.checkpoint):
        plain["reported"] = model.reported.model_dump(exclude_unset=True)
    else:
        notes[AFTER] = "reported: {miou: 0.0, source: ...}   for a figure that is published somewhere"
    return plain, notes


def _same_width(case: _Case, model: Model, backbone: Mapping[str, Any]) -> bool:
    """Whether a model's backbone is of the family and width of the file's."""
    width = case.file.family.width
    return family_of(model) is case.file.family and getattr(model.backbone, width) == backbone[width]


def _model_backbone(case: _Case, like: str, notes: dict[str, str]) -> dict[str, Any]:
    """A model's backbone: what its tensors show, and the rest from an entry of the same width."""
    taken, file, model = case.taken, case.file, case.manifest.models[like]
    backbone = file.family.describe_model(file.geometry)
    lacking = [field for field, value in backbone.items() if value is None]
    same_width = model.backbone if _same_width(case, model, backbone) else None
    for field in lacking:
        value = (file.recorded.eps or model.eps) if field == "eps" else getattr(same_width, field, None)
        if value is None:
            said = f"{taken.path}: no tensor shows its {_WORDS.get(field, field)}, and {like} is of another width"
            raise UsageError(said, hint=f"say --{field} N")
        backbone[field] = value
    if unknown := [field for field in lacking if field != "eps" or file.recorded.eps is None]:
        notes["backbone"] = f"{' and '.join(unknown)} {'are' if unknown != ['eps'] else 'is'} assumed: as in {like}"
    return ({} if file.family.name == BACKBONE.default else {BACKBONE.tag: file.family.name}) | backbone


def _model_head(case: _Case, like: str, backbone: Mapping[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    """A model's head: what its tensors show, and the rest from an entry with the same head, or from its own backbone."""
    decoder, model = case.file.geometry.decoder, case.manifest.models[like]
    assert decoder is not None
    kind = HEADS[decoder.kind]
    head = kind.describe(decoder)
    same_kind = model.head.named == kind.name
    same = same_kind and _same_width(case, model, backbone)
    lacking = [field for field, value in head.items() if value is None]
    for field in lacking:
        if field == "eps":
            head[field] = model.head_eps or kind.eps
        else:
            head[field] = getattr(model.head, field) if same else backbone.get(field)
        if head[field] is None:
            raise UsageError(f"{case.taken.path}: no tensor shows the {field} of its head", hint=f"--like NAME of a model with a {kind.name} head")
    if lacking:
        others = [field for field in lacking if field != "eps"]
        eps_of = like if same_kind else f"every {kind.name} head known"
        whose = f"as in {like}" if same else f"{' and '.join(others)} as those of the backbone, eps as in {eps_of}"
        notes["head"] = f"{' and '.join(lacking)} are assumed: {whose}"
    return {"kind": kind.name} | head


def _protocol(model: Model, dataset: str) -> dict[str, Any]:
    """The protocol of another model with this data set, in plain form. Equal channels are written as one number."""
    protocol = model.protocol.model_dump(exclude_unset=True, exclude={"note", "published_scale"}) | {"dataset": dataset}
    for side in ("mean", "std"):
        protocol[side] = protocol[side][0] if len(set(protocol[side])) == 1 else protocol[side]
    return protocol


def _like(case: _Case, kin: Mapping[str, E], among: Mapping[str, E], shared: Callable[[E], Any], what: str) -> str | None:
    """The entry to take facts from: the named one, else the one whose file this is, else the first of its `kin`. None where it has none.

    Raises UsageError where its kin differ in their `shared` facts, NotFoundError for an unknown name.
    """
    if (named := case.wishes.like) is not None:
        if named not in among:
            raise NotFoundError(f"--like {named}: no such {what}; there are {', '.join(among) or 'none'}")
        return named
    if own := next((name for name, one in among.items() if _is(case.taken, one.artifact)), None):
        return own
    if len({shared(one) for one in kin.values()}) > 1:
        hint = "they differ in facts that no tensor shows: choose one with --like NAME"
        raise UsageError(f"{case.taken.path}: {case.file.geometry}: like {' and like '.join(kin)}", hint)
    return next(iter(kin), None)


def _is(taken: Taken, artifact: Artifact) -> bool:
    """Whether the file is that artifact. The hash, or its first digits, decide."""
    return taken.sha256 == artifact.sha256 or (artifact.sha256_prefix is not None and taken.sha256.startswith(artifact.sha256_prefix))


def _check_classes(taken: Taken, name: str, datasets: Mapping[str, Dataset], classes: int, like: str) -> None:
    fitting = [one for one, dataset in datasets.items() if len(dataset.classes) == classes]
    hint = f"say --dataset NAME; data sets with {classes} classes: {', '.join(fitting)}" if fitting else "describe the data set in the manifest first"
    if name not in datasets:
        raise NotFoundError(f"--dataset {name}: no such data set; there are {', '.join(datasets)}", hint)
    if name not in fitting:
        said = f"{taken.path}: {classes} classes, but data set {name} of {like} has {len(datasets[name].classes)}"
        raise UsageError(said, hint)


def name_of(source: str) -> str:
    """A name for a file or an address, made from its file name: without the suffix and the digits of its hash, in letters that a name may have."""
    file = unquote(urlsplit(source).path if "://" in source else source).rsplit("/", 1)[-1]
    stem = re.sub(r"\.(npz|pth|pt|safetensors)$", "", file, flags=re.IGNORECASE)
    stem = re.sub(r"[-_.][0-9a-f]{8}$", "", stem)
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", re.sub(r"[^a-z0-9._]+", "-", stem.lower().replace("_", "-")))[:64] or "model"


def _of_the_name(taken: Taken) -> list[str]:
    """A remark on the eight hex digits at the end of a published file's name; none where there are no digits."""
    digits = re.search(r"-([0-9a-f]{8})\.[a-z]+$", taken.name)
    if digits is None or not re.search("[0-9]", digits[1]):
        return []
    if taken.sha256.startswith(digits[1]):
        return [f"its sha256 begins as its name says: {digits[1]}"]
    return [
        f"its name says {digits[1]}, but its sha256 begins {taken.sha256[:8]}: not the file that was published, or the digits mean something else"
    ]
