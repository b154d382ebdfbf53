"""Several manifests in use as one. If two of them use the same name, the earlier manifest wins, and every reference to the name follows it."""

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
_KINDS = ("datasets", "backbones", "models", "releases")


@dataclass(frozen=True)
class ZooPart:
    """One manifest of several. `given` is the text that asked for it; `own` is False for a manifest that comes with segzoo."""

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
        """A short name, for the folder of receipts. For one's own manifest: its folder's name and a hash of its path, since folders share names."""
        whole = str(self.path.resolve()).encode("utf-8", "surrogateescape")
        return f"{legible(self.folder.name)}-{hashlib.sha256(whole).hexdigest()[:8]}" if self.own else self.given

    @property
    def manifest(self) -> Manifest:
        """The manifest itself. Raises UsageError for the first complaint about it."""
        if self.source.manifest is None:
            raise self.source.complaints[0].error
        return self.source.manifest


@dataclass(frozen=True)
class Merged:
    """Several manifests as one. `origins` maps each name to the part that it comes from; `hidden` says in words which entries lose."""

    manifest: Manifest
    origins: dict[str, ZooPart]
    hidden: tuple[str, ...]


def parts_of(zoos: Zoos) -> list[ZooPart]:
    """The manifests named: paths, or `shipped` and `mini`, which come with segzoo. Without a name it is `shipped`.

    Raises UsageError (no YAML, an empty name, a manifest given twice), NotFoundError.
    """
    names = [zoos] if isinstance(zoos, str | Path) else list(zoos or ("shipped",))
    parts = [_part(name) for name in names]
    for index, part in enumerate(parts):
        if twice := next((other for other in parts[:index] if other.path.resolve() == part.path.resolve()), None):
            raise UsageError(f"manifest {part.given} is given twice" + ("" if part.given == twice.given else f": it is {twice.given}"))
    return parts


def _part(name: str | Path) -> ZooPart:
    if not str(name):
        raise UsageError("one of the manifests has an empty name", hint="look at --zoo and at SEGZOO_ZOO")
    if isinstance(name, str) and name in PACKAGED:
        return ZooPart(name, False, examine(packaged(PACKAGED[name])))
    try:
        return ZooPart(str(name), True, examine(Path(name)))
    except NotFoundError as error:
        raise NotFoundError(error.message, _listed(str(name))) from error


def _listed(name: str) -> str | None:
    """What to do about a list of manifests that was given as one path."""
    names = name.split(os.pathsep)
    if len(names) == 1 or not (names[0] in PACKAGED or Path(names[0]).is_file()):
        return None
    return f"give each its own --zoo: {' '.join(f'--zoo {one}' for one in names if one)}; only SEGZOO_ZOO takes a list"


def merged(parts: Sequence[ZooPart]) -> Merged:
    """The manifests as one. Raises UsageError for the first complaint about one of them, or about how they fit together."""
    whole = united(parts)
    for complaint in misfits(parts, whole):
        raise complaint.error
    return whole


def united(parts: Sequence[ZooPart]) -> Merged:
    """The manifests as one, whether or not they fit together.

    Each of several manifests has its own folder, so relative addresses and paths become absolute. In a single manifest they stay.
    """
    entries: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    origins: dict[str, ZooPart] = {}
    hidden = []
    for part in parts:
        manifest = part.manifest if len(parts) == 1 else _anchored(part.manifest, part.folder)
        for kind in _KINDS:
            for name, entry in getattr(manifest, kind).items():
                first = origins.setdefault(name, part)
                if first is part or _adds_path(entries[kind].get(name), entry):
                    entries[kind][name] = entry
                else:
                    hidden.append(f"{name} of {part.given} is hidden by that of {first.given}")
    return Merged(Manifest.model_construct(None, version=1, **entries), origins, tuple(hidden))


def _adds_path(first: Any, entry: Any) -> bool:
    """Whether an entry is a copy of an earlier data set that has no path, and adds the path."""
    if not (isinstance(first, Dataset) and isinstance(entry, Dataset)) or first.path is not None or entry.path is None:
        return False
    return first == entry.model_copy(update={"path": None})


def misfits(parts: Sequence[ZooPart], whole: Merged) -> Iterator[Complaint]:
    """Each place where the parts do not fit together, with its file and line."""
    for where, message in whole.manifest.misfits():
        part = whole.origins[str(where[1])]
        hint = None
        if message.startswith("no "):
            hint = f"if another manifest has it, give that one too: {' '.join(f'--zoo {one.given}' for one in parts)} --zoo OTHER"
        yield part.source.at(where, message, hint)


def _anchored(record: Any, folder: Path) -> Any:
    """The record with absolute addresses and paths in place of those relative to the manifest's folder."""
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
