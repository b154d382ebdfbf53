"""Several manifests in use as one: of two things of one name that of the earlier manifest counts, for every reference to it too."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.errors import NotFoundError, UsageError
from segzoo.manifest.artifact import Mirror, Record
from segzoo.manifest.document import Complaint, Manifest, Source, examine, packaged
from segzoo.manifest.entries import Dataset
from segzoo.text import legible

PACKAGED = {"shipped": "zoo.yaml", "mini": "mini/zoo.yaml"}
Zoos = str | Path | Sequence[str | Path] | None
_KINDS = ("datasets", "backbones", "models")


@dataclass(frozen=True)
class Part:
    """One manifest of several. `given` is how it was asked for; `own` is False for those that come with segzoo."""

    given: str
    own: bool
    source: Source

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def folder(self) -> Path:
        return self.path.resolve().parent

    @property
    def label(self) -> str:
        """A short name, for a folder of receipts: of one's own manifests the folder's, and what tells it from others of that name."""
        whole = str(self.path.resolve()).encode("utf-8", "surrogateescape")
        return f"{legible(self.folder.name)}-{hashlib.sha256(whole).hexdigest()[:8]}" if self.own else self.given

    @property
    def manifest(self) -> Manifest:
        """What it holds. Raises UsageError for the first complaint about it."""
        if self.source.manifest is None:
            raise self.source.complaints[0].error
        return self.source.manifest


@dataclass(frozen=True)
class Merged:
    """`origins` says for each name which part it is from, `hidden` in words what does not count."""

    manifest: Manifest
    origins: dict[str, Part]
    hidden: tuple[str, ...]


def parts_of(zoos: Zoos) -> list[Part]:
    """The manifests named: paths, or those that come with segzoo by their names; the shipped one where none is named.

    Raises UsageError (no YAML, an empty name, one of them twice), NotFoundError.
    """
    names = [zoos] if isinstance(zoos, str | Path) else list(zoos or ("shipped",))
    parts = [_part(name) for name in names]
    for index, part in enumerate(parts):
        if twice := next((other for other in parts[:index] if other.path.resolve() == part.path.resolve()), None):
            raise UsageError(f"manifest {part.given} is given twice" + ("" if part.given == twice.given else f": it is {twice.given}"))
    return parts


def _part(name: str | Path) -> Part:
    if not str(name):
        raise UsageError("one of the manifests has an empty name", hint="look at --zoo and at SEGZOO_ZOO")
    if isinstance(name, str) and name in PACKAGED:
        return Part(name, False, examine(packaged(PACKAGED[name])))
    try:
        return Part(str(name), True, examine(Path(name)))
    except NotFoundError as error:
        raise NotFoundError(error.message, _listed(str(name))) from error


def _listed(name: str) -> str | None:
    """What to do about a list of manifests that was given as one."""
    names = name.split(os.pathsep)
    if len(names) == 1 or not (names[0] in PACKAGED or Path(names[0]).is_file()):
        return None
    return f"each has a --zoo of its own: {' '.join(f'--zoo {one}' for one in names if one)}; a list is for SEGZOO_ZOO"


def merged(parts: Sequence[Part]) -> Merged:
    """The manifests as one. Raises UsageError for the first complaint about one, or about how they fit together."""
    whole = united(parts)
    for complaint in misfits(parts, whole):
        raise complaint.error
    return whole


def united(parts: Sequence[Part]) -> Merged:
    """The manifests as one, whether or not they fit together.

    Several have several folders: relative addresses and paths are then made absolute. Of one they stay as they are.
    """
    entries: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    origins: dict[str, Part] = {}
    hidden = []
    for part in parts:
        manifest = part.manifest if len(parts) == 1 else _anchored(part.manifest, part.folder)
        for kind in _KINDS:
            for name, entry in getattr(manifest, kind).items():
                first = origins.setdefault(name, part)
                if first is part or _placed(entries[kind].get(name), entry):
                    entries[kind][name] = entry
                else:
                    hidden.append(f"{name} of {part.given} is hidden by that of {first.given}")
    return Merged(Manifest.model_construct(None, version=1, **entries), origins, tuple(hidden))


def _placed(first: Any, entry: Any) -> bool:
    """Whether an entry is the same data set as an earlier one, such as a copy, and says where it lies while that does not."""
    if not (isinstance(first, Dataset) and isinstance(entry, Dataset)) or first.path is not None or entry.path is None:
        return False
    return first == entry.model_copy(update={"path": None})


def misfits(parts: Sequence[Part], whole: Merged) -> Iterator[Complaint]:
    """Where the parts do not fit together, each with its file and line."""
    for where, message in whole.manifest.misfits():
        part = whole.origins[str(where[1])]
        hint = None
        if message.startswith("no "):
            hint = f"what another manifest has is found when it is given too: {' '.join(f'--zoo {one.given}' for one in parts)} --zoo OTHER"
        yield part.source.at(where, message, hint)


def _anchored(record: Any, folder: Path) -> Any:
    """The record with nothing in it that is relative to the manifest's folder."""
    if isinstance(record, Mirror):
        return record.model_copy(update={"url": (folder / record.url).as_uri()}) if record.relative else record
    if isinstance(record, tuple):
        return tuple(_anchored(one, folder) for one in record)
    if isinstance(record, dict):
        return {name: _anchored(one, folder) for name, one in record.items()}
    if not isinstance(record, Record):
        return record
    changed = {name: _anchored(getattr(record, name), folder) for name in record.model_fields_set}
    if isinstance(record, Dataset) and record.path is not None:
        changed["path"] = str(folder / record.path)
    return record.model_copy(update=changed)
