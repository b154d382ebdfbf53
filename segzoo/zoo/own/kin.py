"""The entries of the zoo that a file of weights is like, or is: those of its geometry, and those with its hash."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.conversion.said import plain
from segzoo.errors import ConversionError, NotFoundError, UsageError
from segzoo.layouts.family import Geometry, bare
from segzoo.manifest.artifact import Artifact, joint_sha256
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Backbone, Entry, Model, family_of, geometry_of
from segzoo.store.hashing import hashed

E = TypeVar("E", bound=Backbone | Model)


def alike(file: Checkpoint, among: Mapping[str, E], *, any_classes: bool = False) -> Mapping[str, E]:
    """The entries whose own files have this file's geometry. Sizes that tensors need not show are not compared, nor, if asked, the classes."""
    mine = _bare(file.geometry, any_classes)
    return {name: entry for name, entry in among.items() if family_of(entry) is file.family and _bare(geometry_of(entry), any_classes) == mine}


def _bare(geometry: Geometry, any_classes: bool) -> Any:
    shown = bare(geometry)
    if not any_classes or shown.decoder is None:
        return shown
    return replace(shown, decoder=replace(shown.decoder, classes=0))


def of_the_layout(file: Checkpoint, fitting: Mapping[str, E]) -> Mapping[str, E]:
    """Of several entries that fit, those whose own files have this file's layout; all of them if there are none."""
    return {name: entry for name, entry in fitting.items() if entry.artifact.layout == file.found.layout.name} or fitting


def known_as(file: Checkpoint, among: Mapping[str, E]) -> list[str]:
    """The entries whose own file this is, by its hash. It is hashed only if an entry has its geometry."""
    if not (fitting := alike(file, among)):
        return []
    sha256 = joint_sha256({path.name: hashed(path)[0] for path in (file.weights.path, *file.weights.files)})
    return [name for name, entry in fitting.items() if is_file_of(sha256, entry.artifact)]


def is_file_of(sha256: str, artifact: Artifact) -> bool:
    """Whether a file with this hash is that artifact. The hash, or its first digits, decide."""
    prefix = None if artifact.shards else artifact.sha256_prefix
    return sha256 == artifact.joint_sha256 or (prefix is not None and sha256.startswith(prefix))


def hidden_facts(entry: Entry) -> dict[str, Any]:
    """The facts that a file may take from an entry, since no tensor shows them, by the fields of a manifest."""
    geometry = geometry_of(entry)
    facts = {f"backbone.{name}": getattr(geometry, name) for name in geometry.hidden} | {"backbone.eps": entry.eps}
    if isinstance(entry, Model):
        for section, part in (("neck", geometry.neck), ("head", geometry.decoder)):
            facts |= {f"{section}.{name}": getattr(part, name) for name in part.hidden} if part else {}
        facts |= {"head.eps": entry.head_eps, "classes": (entry.protocol.dataset, tuple(entry.classes or ()))}
        facts |= {f"protocol.{name}": value for name, value in entry.protocol.plain.items() if name not in ("dataset", "note", "published_scale")}
    return facts


def refuse_differing(file: Checkpoint, path: Path, fitting: Mapping[str, Entry]) -> None:
    """Raises UsageError where entries that fit differ in a fact that the file itself does not say."""
    facts = [hidden_facts(entry) for entry in fitting.values()]
    open_facts = {name for some in facts for name in some if name not in file.said}
    if len({tuple(str(plain(some.get(name))) for name in sorted(open_facts)) for some in facts}) > 1:
        hint = "they differ in facts that no tensor shows: choose one with --like NAME, or like= in Python, or give the file's own with --config"
        raise UsageError(f"{path}: {file.geometry}: like {' and like '.join(fitting)}", hint)


def chosen_model(file: Checkpoint, path: Path, manifest: Manifest, like: str | None, strict: bool, known: str | None) -> str | None:
    """The model to take facts from: the named one, else the one whose file this is, else one of its geometry; of another number of classes
    only where none has the same. None where there is none.

    Raises UsageError where several differ, NotFoundError for an unknown name, ConversionError for a named one that does not fit.
    """
    models = manifest.models
    close = alike(file, models, any_classes=True)
    if (chosen := _named(file, path, like, known, models, close, "model", strict)) is not None:
        return chosen
    fitting = of_the_layout(file, alike(file, models) or close)
    refuse_differing(file, path, fitting)
    return next(iter(fitting), None)


def chosen_backbone(
    file: Checkpoint, path: Path, entries: Mapping[str, Backbone], sizes: Mapping[str, Any], like: str | None, strict: bool, known: str | None
) -> str | None:
    """The backbone to take facts from; see `chosen_model`. Sizes that depend on a backbone's training need not be equal."""
    kin = {
        name: entry
        for name, entry in entries.items()
        if family_of(entry) is file.family and all(getattr(entry.geometry, side) == sizes[side] for side in file.family.kin)
    }
    if (chosen := _named(file, path, like, known, entries, kin, "backbone", strict)) is not None:
        return chosen
    refuse_differing(file, path, kin)
    return next(iter(kin), None)


def _named(
    file: Checkpoint, path: Path, like: str | None, known: str | None, among: Collection[str], fitting: Collection[str], what: str, strict: bool
) -> str | None:
    """The entry that the caller names, else the one whose file this is. If `strict`, a named one must be among the `fitting`."""
    if like is None:
        return known
    if like not in among:
        raise NotFoundError(f"--like {like}: no such {what}; there are {', '.join(among) or 'none'}")
    if strict and like not in fitting:
        raise ConversionError(f"{path}: {file.geometry}: not like {like}", hint=f"segzoo info {like} shows its sizes")
    return like


def same_width(file: Checkpoint, model: Model) -> bool:
    """Whether a model's backbone is of the family and width of the file's."""
    width = file.family.width
    return family_of(model) is file.family and getattr(geometry_of(model), width) == getattr(file.geometry, width)
