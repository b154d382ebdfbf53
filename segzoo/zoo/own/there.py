"""Whether a manifest has an entry already that is to be added: then it stays, so that a command that was killed can be run again."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from segzoo.errors import UsageError
from segzoo.manifest.document import Manifest
from segzoo.manifest.entries import Entry
from segzoo.zoo.own.propose import Proposal
from segzoo.zoo.zoo import Zoo


def entries_there(path: Path, manifest: Manifest, named: Mapping[str, str]) -> dict[str, Entry]:
    """The entries that a manifest has under the names that sources are to get, by name.

    Raises UsageError for the name of a data set, or of an entry with another address than the source. It is asked before anything is
    fetched; `refuse_other` compares the whole entry.
    """
    found: dict[str, Entry] = {}
    for source, name in named.items():
        if name in manifest.datasets:
            raise taken(path, name)
        if (entry := manifest.entries.get(name)) is not None:
            if source.startswith(("http://", "https://")) and source not in [mirror.url for mirror in entry.artifact.urls]:
                raise taken(path, name)
            found[name] = entry
    return found


def without(zoo: Zoo, names: Iterable[str]) -> Zoo:
    """The zoo without some of its entries, since an entry is no evidence for itself."""
    gone = set(names)
    kept = {kind: {name: one for name, one in getattr(zoo.manifest, kind).items() if name not in gone} for kind in ("backbones", "models")}
    return replace(zoo, manifest=zoo.manifest.model_copy(update=kept))


def refuse_other(path: Path, proposals: Iterable[Proposal], before: Mapping[str, Entry]) -> None:
    """Raises UsageError where the manifest has an entry that is not what is proposed under its name."""
    for one in proposals:
        entry = before.get(one.name)
        if entry is not None and (type(entry), entry.model_dump()) != (type(one.entry), one.entry.model_dump()):
            raise taken(path, one.name)


def taken(path: Path, name: str) -> UsageError:
    """The error for a name that the manifest has already, of something else."""
    return UsageError(f"{path}: it has a '{name}' already, which is another one", hint="give the new one another name: --name NAME")
