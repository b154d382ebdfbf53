"""A manifest in use, or several as one: the zoo, the folder its addresses start from, the store, and what the network may be asked.

What downloads is imported when something is: `list` and `info` need no arrays and no HTTP.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segzoo.errors import ConversionError, IntegrityError, NotFoundError, SegzooError, UsageError
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Zoo
from segzoo.manifest.merge import PACKAGED, Part, Zoos, merged, parts_of
from segzoo.store.store import LOCK_NAME, Store, home

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched
    from segzoo.store.policy import Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """`label` is a short name for it. `origins` says for each name
    which of the `parts` it is from, `hidden` what of later ones does not count.
    """

    zoo: Zoo
    base: Path
    store: Store
    label: str
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    origins: Mapping[str, Part] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def receipts_of(self, name: str) -> Path:
        """The folder of an entry's receipt: that of the manifest that it is from, whichever it is used with."""
        return self.store.home / "receipts" / self.origins[name].label

    def receipt_of(self, name: str) -> Path:
        return self.receipts_of(name) / f"{name}.json"

    @property
    def option(self) -> str:
        """The manifests as they were given, as they stand in a command that one is told to give next, with a space after it."""
        return "" if self.label == "shipped" else "".join(f"--zoo {shlex.quote(part.given)} " for part in self.parts)

    def policy(self, **more: Any) -> Policy:
        """What the user allows of the network."""
        from segzoo.store.policy import Policy

        return Policy(offline=self.offline, mirrors=self.mirrors, look=self.look, **more)

    def look(self, artifact: Artifact, path: Path) -> None:
        """Open a file as this artifact, and hold it to the layout, geometry and dtype that its entry has. Raises IntegrityError."""
        from segzoo.formats import naming
        from segzoo.store.policy import opens
        from segzoo.zoo.opened import read

        entry = next((entry for entry in self.zoo.entries.values() if entry.artifact == artifact), None)
        if entry is None:
            opens(artifact, path)
            return
        try:
            with naming(path):
                read(entry, path)
        except ConversionError as error:
            raise IntegrityError(error.message) from error

    def fetch(self, artifact: Artifact, said: Callable[[int, int | None], None]) -> Fetched:
        """The artifact in the store, as the user allows."""
        from segzoo.store.fetch import fetch

        return fetch(artifact, self.store, self.base, said, policy=self.policy())

    def chosen(self, names: Iterable[str], every: bool, among: Mapping[str, T]) -> dict[str, T]:
        """The named ones, or all. Raises UsageError for none, NotFoundError with the nearest name for an unknown one."""
        names = list(dict.fromkeys(names))
        if every and names:
            raise UsageError("name some, or give --all, but not both")
        if every:
            return dict(among)
        if not names:
            raise UsageError("nothing named", hint=f"name one or more of {', '.join(among)}; or give --all")
        for name in names:
            if name not in among:
                raise self._unknown(name, among)
        return {name: among[name] for name in names}

    def _unknown(self, name: str, among: Mapping[str, Any]) -> NotFoundError:
        """What a name that is not among these may be: a data set, several names, a name of another zoo, a receipt, a path, a slip."""
        near = difflib.get_close_matches(name, list(among), n=1)
        error = self._data_set(name, among) or _several(name, among) or self._of_another_zoo(name)
        if error := error or self._receipt(name) or self._path(name, near):
            return error
        guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(among)}"
        return NotFoundError(f"no '{name}' in this zoo; {guess}", hint="segzoo list shows what there is")

    def _data_set(self, name: str, among: Mapping[str, Any]) -> NotFoundError | None:
        dataset = self.zoo.datasets.get(name)
        if dataset is None:
            return None
        way = f"segzoo fetch {name}" if dataset.archive else "it lies beside the manifest" if dataset.path else "it is got by hand"
        where = f", from {dataset.home}" if dataset.home and not dataset.archive else ""
        files = any(isinstance(one, Artifact) for one in among.values())  # data sets may be among them, but have none
        what = "of which there is nothing to fetch" if files else "no model"
        return NotFoundError(f"'{name}' is a data set, {what}", hint=f"{way}{where}; --data DIR of verify and report names a folder")

    def _of_another_zoo(self, name: str) -> NotFoundError | None:
        """Of one that is at hand and not in use: the working folder's, or one that comes with segzoo."""
        used = {part.path.resolve() for part in self.parts}
        for zoo in ("zoo.yaml", *PACKAGED):
            other = _at_hand(zoo)
            if other and other.path.resolve() not in used and (name in other.zoo.entries or name in other.zoo.datasets):
                said = f"the {zoo} one" if zoo in PACKAGED else f"that of {zoo} in this folder"
                return NotFoundError(f"no '{name}' in this zoo, but in {said}", hint=f"segzoo --zoo {zoo} ..., or zoo='{zoo}' in Python")
        return None

    def _receipt(self, name: str) -> NotFoundError | None:
        """Somebody's receipt as a file, which a report takes from the folder of receipts only."""
        from segzoo.evidence.receipt import read

        record = read(Path(name)) if Path(name).suffix == ".json" else None
        if record is None or not isinstance(of := record.get("name"), str):
            return None
        check = f"segzoo {self.option}receipt check {shlex.quote(name)} checks it"
        if of not in self.zoo.entries:
            way = f"for the report, name the zoo that has {of} with --zoo"
        elif (there := self.receipt_of(of)).exists() and there.samefile(name):
            way = f"segzoo {self.option}report {of} makes its page"
        elif there.exists():
            way = f"the report would have it in place of your own receipt, {there}"
        else:
            folder, file = shlex.quote(str(there.parent)), shlex.quote(str(there))
            way = f"mkdir -p {folder} && cp {shlex.quote(name)} {file} puts it into the report"
        return NotFoundError(f"'{name}' is a receipt, of {of}", hint=f"{check}; {way}")

    def _path(self, name: str, near: Sequence[str]) -> NotFoundError | None:
        """A path where a name is wanted: a file, an address, a folder, or what could only be a file and is not there."""
        from segzoo.formats import suffixes

        path = Path(name)
        if what := "a file" if path.is_file() else "an address" if name.startswith(("http://", "https://")) else None:
            way = f"segzoo manifest add {name} --to zoo.yaml makes it an entry of your own zoo"
            return NotFoundError(f"no '{name}' in this zoo; it is {what}", hint=way)
        owner = next((own for own, entry in self.zoo.entries.items() if entry.artifact.name == path.name), None)
        hint = f"the zoo's {owner} has a file of this name: give {owner} in its place" if owner else f"did you mean {near[0]}?" if near else None
        if name and path.is_dir():
            return NotFoundError(f"'{name}' is a folder", hint or "segzoo list shows the names that there are")
        if path.name != name or path.suffix.lower() in suffixes:
            return NotFoundError(f"{name}: no such file", hint)
        return None


def _several(name: str, known: Iterable[str]) -> NotFoundError | None:
    """Names with commas between them, or after them."""
    names = [one.strip() for one in name.split(",") if one.strip()]
    if "," not in name or not names or set(names) - set(known):
        return None
    return NotFoundError(f"no '{name}' in this zoo", hint=f"names are separated by spaces: {' '.join(names)}")


def _at_hand(zoo: str) -> Part | None:
    """A manifest that nobody has asked for; None where there is none, or a broken one."""
    try:
        part = parts_of(zoo)[0] if zoo in PACKAGED or Path(zoo).is_file() else None
    except (SegzooError, OSError):
        return None
    return part if part and part.source.zoo else None


def open_manifest(zoo: Zoos = None, offline: bool = False, mirrors: tuple[str, ...] = ()) -> Manifest:
    """The manifest at a path, the embedded one for `mini`, the shipped one for `shipped` or where none is named; never the
    working folder's unasked. Of several the earlier ones count, name by name.

    Pins are kept beside the first manifest of one's own, else in the store's folder.
    """
    parts = parts_of(zoo)
    whole = merged(parts)
    label = "+".join(dict.fromkeys(part.label for part in parts))
    if wrong := [url for url in mirrors if not url.startswith(("http://", "https://"))]:
        raise UsageError(f"mirror '{wrong[0]}' is no http or https address")
    return Manifest(whole.zoo, parts[0].folder, store_of(parts), label, offline, mirrors, tuple(parts), whole.origins, whole.hidden)


def store_of(parts: Iterable[Part]) -> Store:
    """The store, with the pins that are kept for these manifests."""
    own = next((part for part in parts if part.own), None)
    return Store(home(), (own.folder if own else home()) / LOCK_NAME)
