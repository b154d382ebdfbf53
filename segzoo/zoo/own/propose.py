"""The manifest entry for a file of weights: what its tensors show is measured, the rest the file says, or an entry like it.

What is taken is marked as assumed in the entry. A reported figure is taken only if the file is the one that the figure was
measured on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.errors import ConversionError
from segzoo.formats import naming
from segzoo.layouts import HEADS
from segzoo.layouts.family import Geometry
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Entry
from segzoo.manifest.fields import Identifier
from segzoo.manifest.spelling import AFTER
from segzoo.vocabulary import DTYPES
from segzoo.zoo.likeness import made_entry
from segzoo.zoo.opened import open_entry
from segzoo.zoo.own.entry import Description, Wishes, describe_backbone, describe_model
from segzoo.zoo.own.kin import is_file_of
from segzoo.zoo.own.take import Taken, valid

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


@dataclass(frozen=True)
class Proposal:
    """An entry, and its plain form in written order. `notes` are comments in the manifest, by field; `remarks` are shown to the caller; `apart`
    are those among them that say where the file, its config and the zoo differ.
    """

    kind: str
    name: str
    entry: Entry
    plain: Mapping[str, Any]
    notes: Mapping[str, str]
    remarks: tuple[str, ...]
    geometry: Geometry
    apart: tuple[str, ...] = ()


def propose(taken: Taken, manifest: Manifest, wishes: Wishes) -> Proposal:
    """The entry for a file, from its tensors, from what it says of itself, and from the zoo. The file is then checked against it, as
    `verify` does.

    Raises UsageError where the caller must say what neither the file nor the zoo shows, NotFoundError for a name that is not in
    the zoo, ConversionError for a file that no manifest can describe, and what opening it raises.
    """
    with naming(taken.path):
        file = identify(taken.path, heads=wishes.heads, config=wishes.config)
        name = valid(_IDENTIFIER, wishes.name or name_of(taken.called))
        artifact, summary = _artifact(taken, file), file.family.summary(file.geometry)
        if file.geometry.decoder is None:
            kind, made = "backbones", describe_backbone(file, taken.path, manifest.backbones, wishes, _known(taken, manifest.backbones))
            title = wishes.title or f"{file.family.title}, {summary}"
            plain = {"title": title, "file": f"{name}.mmseg.pth", "source": artifact, **made.plain}
        else:
            kind, made = "models", describe_model(file, taken.path, manifest, wishes, _known(taken, manifest.models))
            title = wishes.title or f"{HEADS[made.plain['head']['kind']].title}, {summary}"
            plain = {"title": title, "checkpoint": artifact, **made.plain} | _reported(taken, manifest, made)
        entry = made_entry(file, replace(made, plain={**made.plain, **plain}), artifact)
        geometry = open_entry(entry, taken.path).geometry
    remarks = (*([taken.remark] if taken.remark else []), *file.weights.notes, *file.found.notes, *_of_the_name(taken), *file.said.notes, *made.apart)
    notes = {field: made.notes[field] for field in (*plain, AFTER) if field in made.notes}  # in written order
    return Proposal(kind, name, entry, plain, notes, remarks, geometry, (*file.said.notes, *made.apart))


def _artifact(taken: Taken, file: Checkpoint) -> dict[str, Any]:
    """The artifact of a file in plain form. Raises ConversionError for tensors of several dtypes, or of a dtype that no manifest can name."""
    dtypes = file.dtypes
    if len(dtypes) > 1 or dtypes[0] not in DTYPES:
        hint = "segzoo convert --dtype float32 makes a file of one"
        raise ConversionError(f"{taken.path}: tensors in {', '.join(dtypes)}; a manifest can name one dtype for a file", hint)
    facts: dict[str, Any] = {"name": taken.name, "layout": file.found.layout.name}
    facts |= {"dtype": dtypes[0]} if dtypes[0] != "float32" else {}
    return facts | taken.plain


def _known(taken: Taken, among: Mapping[str, Entry]) -> str | None:
    """The entry whose own file this is."""
    return next((name for name, entry in among.items() if _is(taken, entry.artifact)), None)


def _is(taken: Taken, artifact: Artifact) -> bool:
    return is_file_of(taken.sha256, artifact)


def _reported(taken: Taken, manifest: Manifest, made: Description) -> dict[str, Any]:
    """The published figure, if the file is the one that it was measured on; else there is a note on how to write one."""
    model = manifest.models.get(made.like or "")
    if model and model.reported and model.reported.source.startswith("http") and _is(taken, model.checkpoint):
        return {"reported": model.reported.model_dump(exclude_unset=True)}
    made.notes[AFTER] = "reported: {miou: 0.0, source: ...}   for a figure that is published somewhere"
    return {}


def name_of(file: str) -> str:
    """A name made from a file's: without the suffix and the digits of its hash, in letters that a name may have."""
    stem = re.sub(r"\.(npz|pth|pt|bin|safetensors|msgpack)(\.index\.json)?$", "", file, flags=re.IGNORECASE)
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
