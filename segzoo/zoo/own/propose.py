"""The manifest entry that a file of weights deserves: measured where its tensors show it, taken from an entry like it where not.

What is taken is assumed, and marked so. Nothing is taken in silence, and no reported figure is taken at all, unless the file is
the very one that the figure is of.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter

from segzoo.conversion.axes import measure
from segzoo.conversion.detect import Found, detect
from segzoo.conversion.metadata import Recorded, recorded
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.formats import naming, open_weights
from segzoo.layouts.vit.geometry import Geometry
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Backbone, Dataset, Entry, Model, geometry_of
from segzoo.manifest.fields import Identifier
from segzoo.manifest.spelling import AFTER
from segzoo.vocabulary import DTYPES
from segzoo.zoo.likeness import assumed
from segzoo.zoo.opened import read
from segzoo.zoo.own.take import Taken, valid

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)
E = TypeVar("E", Backbone, Model)


@dataclass(frozen=True)
class Wishes:
    """What the caller says of a file: attention heads, the data set, which entry of the zoo it is like, name and title."""

    heads: int | None = None
    dataset: str | None = None
    like: str | None = None
    name: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class Proposal:
    """An entry and its plain form in the order in which it is written. `notes` are comments, by field; `remarks` are for the reader now."""

    kind: str
    name: str
    entry: Entry
    plain: Mapping[str, Any]
    notes: Mapping[str, str]
    remarks: tuple[str, ...]
    geometry: Geometry


def propose(taken: Taken, manifest: Manifest, wishes: Wishes) -> Proposal:
    """The entry for a file, by its tensors and what the zoo knows; it is held to the file as `verify` would.

    Raises UsageError where something must be said that nothing shows, NotFoundError for a name that the zoo has not,
    ConversionError for a file that no manifest can describe, and what opening it raises.
    """
    opened = open_weights(taken.path)
    known = recorded(opened)
    with naming(taken.path):
        found = detect(opened.specs, positions=known.positions)
        measured, _ = measure(found.rules, opened.specs, found.depths, wishes.heads or known.heads)
    if measured.residual is not None or measured.grid is None:
        raise ConversionError(f"{taken.path}: {measured}: a manifest has no words for it; it describes plain ViTs with a square grid")
    dtypes = sorted({spec.dtype for spec in opened.specs.values()})
    if len(dtypes) > 1 or dtypes[0] not in DTYPES:
        hint = "segzoo convert --dtype float32 makes a file of one"
        raise ConversionError(f"{taken.path}: tensors in {', '.join(dtypes)}; a manifest has one dtype for a file", hint)
    artifact: dict[str, Any] = {"name": taken.name, "layout": found.layout.name}
    artifact |= {"dtype": dtypes[0]} if dtypes[0] != "float32" else {}
    artifact |= {"size": taken.size, "sha256": taken.sha256}
    artifact |= {"provenance": taken.provenance} if taken.provenance else {}
    artifact["urls"] = (taken.url,)
    name = valid(_IDENTIFIER, wishes.name or name_of(taken.name))
    describe = _backbone if measured.decoder is None else _model
    plain, notes = describe(name, taken, artifact, found, measured, known, manifest, wishes)
    kind: type[Entry] = Backbone if measured.decoder is None else Model
    entry = kind.model_validate(plain)
    with naming(taken.path):
        geometry = read(entry, taken.path).geometry
    remarks = (*([taken.remark] if taken.remark else []), *opened.notes, *found.notes, *_of_the_name(taken))
    notes = {field: notes[field] for field in (*plain, AFTER) if field in notes}  # in the order in which they are written
    return Proposal("backbones" if measured.decoder is None else "models", name, entry, plain, notes, remarks, geometry)


def _backbone(
    name: str, taken: Taken, artifact: dict[str, Any], found: Found, measured: Geometry, known: Recorded, manifest: Manifest, wishes: Wishes
) -> tuple[dict[str, Any], dict[str, str]]:
    if wishes.dataset:
        raise UsageError(f"{taken.path}: a backbone, and no data set goes with one", hint="leave --dataset out")
    sizes = ("width", "depth", "mlp", "patch")
    alike = {key: one for key, one in manifest.backbones.items() if all(getattr(one.geometry, side) == getattr(measured, side) for side in sizes)}
    like = _like(taken, alike, manifest.backbones, wishes.like, lambda one: (one.geometry.heads, one.eps), "source", measured)
    heads = measured.heads or (manifest.backbones[like].geometry.heads if like else None)
    if heads is None:
        raise UsageError(
            f"{taken.path}: {measured}: no tensor shows its attention heads", hint="say --heads N, or --like NAME of a backbone with as many"
        )
    geometry = {side: getattr(measured, side) for side in sizes[:2]} | {"heads": heads}
    geometry |= {"mlp": measured.mlp, "patch": measured.patch, "grid": measured.grid}
    geometry |= {"classes": measured.classes} if measured.classes else {}
    title = wishes.title or f"ViT, width {measured.width}, {measured.depth} blocks, patch {measured.patch}"
    eps = known.eps or (manifest.backbones[like].eps if like else 1e-6)
    plain = {"title": title, "file": f"{name}.mmseg.pth", "source": artifact, "geometry": geometry, "eps": eps}
    notes = {} if measured.heads else {"geometry": f"heads are assumed: as in {like}"}
    if not known.eps:
        notes["eps"] = f"assumed: as in {like}" if like else "assumed: that of AugReg, timm and MMSegmentation"
    return plain, notes


def _model(
    name: str, taken: Taken, artifact: dict[str, Any], found: Found, measured: Geometry, known: Recorded, manifest: Manifest, wishes: Wishes
) -> tuple[dict[str, Any], dict[str, str]]:
    assert measured.decoder is not None
    assert measured.grid is not None
    decoder = measured.decoder
    alike = {key: one for key, one in manifest.models.items() if geometry_of(one).bare == measured.bare}
    same = {key: one for key, one in alike.items() if one.checkpoint.layout == found.layout.name}  # of models alike, those in this layout
    like = _like(taken, same or alike, manifest.models, wishes.like, assumed, "checkpoint", measured)
    if like is None:
        said = f"{taken.path}: {measured}: like no model of this zoo, and no tensor shows heads, eps, data set and protocol"
        raise UsageError(said, hint=f"say --like NAME of a model that shares its eps and protocol: {', '.join(manifest.models)}")
    model = manifest.models[like]
    heads = measured.heads or (model.backbone.heads if model.backbone.width == measured.width else None)
    if heads is None:
        raise UsageError(f"{taken.path}: no tensor shows its attention heads, and {like} is of another width", hint="say --heads N")
    dataset = wishes.dataset or model.protocol.dataset
    _check_classes(taken, dataset, manifest.datasets, decoder.classes, like)
    eps = known.eps or model.backbone.eps
    backbone: dict[str, Any] = {"width": measured.width, "depth": measured.depth, "heads": heads, "mlp": measured.mlp, "patch": measured.patch}
    backbone |= {"image": measured.grid * measured.patch, "eps": eps} | ({"classes": measured.classes} if measured.classes else {})
    head: dict[str, Any] = {"kind": decoder.kind}
    notes = {}
    if decoder.kind == "mask":
        same_head = model.head.kind == "mask" and model.backbone.width == measured.width
        head |= {"depth": decoder.depth, "heads": model.head.heads if same_head else heads, "mlp": decoder.mlp}
        eps_of = like if model.head.kind == "mask" else "every mask head known"
        from_whom = f"as in {like}" if same_head else f"heads as those of the backbone, eps as in {eps_of}"
        notes["head"] = f"heads and eps are assumed: {from_whom}"
    head |= {"classes": decoder.classes} | ({"eps": model.head.eps or 1e-5} if decoder.kind == "mask" else {})
    lacking = ["heads"] * (measured.heads is None) + ["eps"] * (known.eps is None)
    if lacking:
        notes["backbone"] = f"{' and '.join(lacking)} {'are' if lacking != ['eps'] else 'is'} assumed: as in {like}"
    protocol = model.protocol.model_dump(exclude_unset=True, exclude={"note", "published_scale"}) | {"dataset": dataset}
    for side in ("mean", "std"):
        protocol[side] = protocol[side][0] if len(set(protocol[side])) == 1 else protocol[side]
    notes["protocol"] = f"assumed: as in {like}" + (", but for the data set" if wishes.dataset else "")
    title = wishes.title or f"Segmenter {decoder.kind.title()}, width {measured.width}, {measured.depth} blocks, patch {measured.patch}"
    plain = {"title": title, "checkpoint": artifact, "backbone": backbone, "head": head, "protocol": protocol}
    if model.reported and model.reported.source.startswith("http") and _is(taken, model.checkpoint):
        plain["reported"] = model.reported.model_dump(exclude_unset=True)
    else:
        notes[AFTER] = "reported: {miou: 0.0, source: ...}   for a figure that is published somewhere"
    return plain, notes


def _like(taken: Taken, alike: Mapping[str, E], among: Mapping[str, E], named: str | None, shared: Any, field: str, measured: Geometry) -> str | None:
    """The entry to take from: the one named, the one whose file this is, or the first alike where all of them give the same."""
    if named is not None:
        if named not in among:
            raise NotFoundError(f"--like {named}: no such {'model' if field == 'checkpoint' else 'backbone'}; there are {', '.join(among) or 'none'}")
        return named
    if own := next((name for name, one in among.items() if _is(taken, one.artifact)), None):
        return own
    if len({shared(one) for one in alike.values()}) > 1:
        hint = "they differ in what no tensor shows: say which with --like NAME"
        raise UsageError(f"{taken.path}: {measured}: like {' and like '.join(alike)}", hint)
    return next(iter(alike), None)


def _is(taken: Taken, artifact: Artifact) -> bool:
    """Whether the file is that artifact, by hash."""
    return taken.sha256 == artifact.sha256 or (artifact.sha256_prefix is not None and taken.sha256.startswith(artifact.sha256_prefix))


def _check_classes(taken: Taken, name: str, datasets: Mapping[str, Dataset], classes: int, like: str) -> None:
    fitting = [one for one, dataset in datasets.items() if len(dataset.classes) == classes]
    hint = f"say --dataset NAME: of {classes} classes there are {', '.join(fitting)}" if fitting else "describe the data set in the manifest first"
    if name not in datasets:
        raise NotFoundError(f"--dataset {name}: no such data set; there are {', '.join(datasets)}", hint)
    if name not in fitting:
        said = f"{taken.path}: {classes} classes, but data set {name} of {like} has {len(datasets[name].classes)}"
        raise UsageError(said, hint)


def name_of(source: str) -> str:
    """The name for a file or an address, made of its own: without suffix and digits of its hash, in the letters that a name may have."""
    file = unquote(urlsplit(source).path if "://" in source else source).rsplit("/", 1)[-1]
    stem = re.sub(r"\.(npz|pth|pt|safetensors)$", "", file, flags=re.IGNORECASE)
    stem = re.sub(r"[-_.][0-9a-f]{8}$", "", stem)
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", re.sub(r"[^a-z0-9._]+", "-", stem.lower().replace("_", "-")))[:64] or "model"


def _of_the_name(taken: Taken) -> list[str]:
    """What the eight hex digits at the end of a published file's name say, where there are any."""
    digits = re.search(r"-([0-9a-f]{8})\.[a-z]+$", taken.name)
    if digits is None or not re.search("[0-9]", digits[1]):
        return []
    if taken.sha256.startswith(digits[1]):
        return [f"its sha256 begins as its name says: {digits[1]}"]
    return [
        f"its name says {digits[1]}, but its sha256 begins {taken.sha256[:8]}: not the file that was published, or the digits mean something else"
    ]
