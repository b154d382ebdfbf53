"""A file of one's own that is verified without a manifest: its entry, and the zoo with that entry and with the data set of a folder."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segzoo.conversion.checkpoint import identify
from segzoo.conversion.said import Said
from segzoo.errors import UsageError
from segzoo.formats import naming
from segzoo.formats.shards import standing_for
from segzoo.formats.weights import INDEX
from segzoo.manifest.artifact import Artifact, Mirror
from segzoo.manifest.entries import Dataset, Entry, Model
from segzoo.store.store import receipts
from segzoo.zoo.likeness import known_entry
from segzoo.zoo.names import resolve
from segzoo.zoo.own.entry import Wishes
from segzoo.zoo.own.propose import propose
from segzoo.zoo.own.take import Taken, take
from segzoo.zoo.zoo import ByteProgress, Zoo


@dataclass(frozen=True)
class Chosen:
    """The entries to verify, and the zoo that has them all. `assumed` says of a file what its entry takes for granted, by its hash."""

    zoo: Zoo
    entries: dict[str, Entry]
    assumed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def chosen(
    zoo: Zoo,
    names: Iterable[str],
    every: bool,
    data: Path | None,
    wishes: Wishes,
    said: ByteProgress,
    free: Callable[[Path, str], bool] = lambda receipt, sha256: True,
) -> Chosen:
    """What a caller names: entries of the zoo, and files of the caller's own.

    A file's receipt has the file's name, unless that is not `free`: a path where one of other bytes lies. Of two files called
    latest.pth the second is called by its hash too. A model whose manifest names no data set is measured on the folder `data`.
    A file that the zoo knows by its hash is that entry. Raises what `resolve` and `propose` raise, and EnvironmentFault for a folder
    `data` in which no data set is found.
    """
    entries: dict[str, Entry] = {}
    assumed: dict[str, tuple[str, ...]] = {}
    names = list(dict.fromkeys(names))
    among = zoo.manifest.entries
    if every or not names or all(name in among for name in names):
        if wishes.config or wishes.like:
            raise UsageError("--config and --like are for a file of your own, and no file is named", hint="leave them out")
        return _measured_on(data, Chosen(zoo, resolve(zoo, names, every, among)))
    for name in names:
        path = Path(name) if name in among else standing_for(Path(name))
        if name in among or not path.is_file() or (path.suffix == ".json" and not path.name.endswith(INDEX)):  # the error calls a receipt one
            entries |= resolve(zoo, [name], False, among)
            continue
        taken = take(name, zoo.base, zoo, said)
        own, entry, notes, dataset = _own(zoo, taken, data, wishes, free)
        entries[own] = entry
        assumed[taken.sha256] = notes
        zoo = _with(zoo, own, entry, dataset)
    return Chosen(zoo, entries, assumed)


def _measured_on(data: Path | None, found: Chosen) -> Chosen:
    """The same with the data set in a folder, for models whose manifest names none."""
    for name, entry in found.entries.items():
        if data is None or not isinstance(entry, Model) or entry.protocol.dataset is not None:
            continue
        from segzoo.zoo.own.folder import data_set_in  # Pillow, which nothing but a folder needs

        classes = found.zoo.manifest.classes_of(entry)
        dataset, told = data_set_in(data, classes, Said())
        there = _on(entry, name, classes)
        notes = {**found.assumed, str(entry.artifact.joint_sha256): (f"data: {told}",)}
        found = Chosen(_with(found.zoo, name, there, dataset), {**found.entries, name: there}, notes)
    return found


def _on(entry: Model, name: str, classes: Mapping[str, Any]) -> Model:
    """An entry that is measured on a data set of its own, which has these classes."""
    protocol = entry.protocol.model_copy(update={"dataset": f"{name}.data"[-64:].lstrip("._-")})
    return entry.model_copy(update={"protocol": protocol, "classes": classes})


def _own(
    zoo: Zoo, taken: Taken, data: Path | None, wishes: Wishes, free: Callable[[Path, str], bool]
) -> tuple[str, Entry, tuple[str, ...], Dataset | None]:
    """The name and the entry of a file, what is assumed in it, and the data set that the folder `data` holds, if the zoo has none for it."""
    manifest = zoo.manifest
    with naming(taken.path):
        file = identify(taken.path, heads=wishes.heads, config=wishes.config)
        known = None if wishes.like or wishes.config else known_entry(file, taken.path, manifest.entries)
    if known is not None:
        entry = manifest.entries[known]
        artifact = _here(entry.artifact, taken.path)
        there = entry.model_copy(update={"checkpoint" if isinstance(entry, Model) else "source": artifact})
        return known, there, (f"{taken.path.name} is {known} by its sha256",), None
    proposal = propose(taken, manifest, wishes)
    name, entry = _free(proposal.name, zoo, taken, free), proposal.entry
    notes = tuple(f"{section}: {note}" for section, note in proposal.notes.items() if section) + tuple(proposal.apart)
    if not isinstance(entry, Model) or data is None:
        return name, entry, notes, None
    from segzoo.zoo.own.folder import data_set_in, holds  # Pillow, which nothing but a folder needs

    classes = manifest.classes_of(entry)
    named = entry.protocol.dataset
    if named is not None and holds(data, manifest.datasets[named]):
        return name, entry, (*notes, f"data: {data} is data set {named}"), None
    dataset, told = data_set_in(data, classes, file.said)
    return name, _on(entry, name, classes), (*notes, f"data: {told}"), dataset


def _here(artifact: Artifact, path: Path) -> Artifact:
    """An artifact whose first address is a file of the caller's own, with its shards beside it."""
    shards = tuple(_here(one, path.parent / one.name) for one in artifact.shards)
    return artifact.model_copy(update={"urls": (Mirror(url=path.resolve().as_uri()), *artifact.urls), "shards": shards})


def _free(name: str, zoo: Zoo, taken: Taken, free: Callable[[Path, str], bool]) -> str:
    """A name that no entry has, nor the receipt of another file."""
    manifest = zoo.manifest
    there = name in manifest.entries or name in manifest.datasets or not free(receipts() / zoo.parts[0].label / f"{name}.json", taken.sha256)
    return f"{name[:55]}-{taken.sha256[:8]}" if there else name


def _with(zoo: Zoo, name: str, entry: Entry, dataset: Dataset | None) -> Zoo:
    """The zoo with one more entry, and with its data set. The receipt of the entry belongs to the first manifest."""
    manifest = zoo.manifest
    kind = "models" if isinstance(entry, Model) else "backbones"
    update: dict[str, Any] = {kind: {**getattr(manifest, kind), name: entry}}
    if dataset is not None and isinstance(entry, Model):
        update["datasets"] = {**manifest.datasets, str(entry.protocol.dataset): dataset}
    return replace(zoo, manifest=manifest.model_copy(update=update), origins={name: zoo.parts[0], **zoo.origins})
