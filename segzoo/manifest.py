"""A manifest in use, or several as one: the zoo, the folder its addresses start from, the store, and what the network may be asked.

What downloads is imported when something is: `list` and `info` need no arrays and no HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segzoo.errors import ConversionError, IntegrityError, NotFoundError, UsageError
from segzoo.merging import PACKAGED, Part, Zoos, merged, parts_of
from segzoo.store import LOCK_NAME, Store, home
from segzoo.zoo import Artifact, Zoo

if TYPE_CHECKING:
    from segzoo.delivery import Fetched, Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """`label` is a short name for it; its receipts lie in a folder of that name. `origins` says for each name
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

    def policy(self, **more: Any) -> Policy:
        """What the user allows of the network."""
        from segzoo.delivery import Policy

        return Policy(offline=self.offline, mirrors=self.mirrors, look=self.look, **more)

    def look(self, artifact: Artifact, path: Path) -> None:
        """Open a file as this artifact, and hold it to the layout, geometry and dtype that its entry has. Raises IntegrityError."""
        from segzoo.delivery import opens
        from segzoo.formats import naming
        from segzoo.reading import read

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
        from segzoo.download import fetch

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

    def _unknown(self, name: str, among: Iterable[str]) -> NotFoundError:
        """What a name that is not among these may be: a data set, a name of segzoo's other zoo, a file of one's own, a slip."""
        if dataset := self.zoo.datasets.get(name):
            way = f"segzoo fetch {name}" if dataset.archive else "it lies beside the manifest" if dataset.path else "it is got by hand"
            where = f", from {dataset.home}" if dataset.home and not dataset.archive else ""
            return NotFoundError(f"'{name}' is a data set, no model", hint=f"{way}{where}; --data DIR of verify and report names a folder")
        for label in PACKAGED.keys() - {part.label for part in self.parts}:
            other = parts_of(label)[0].zoo
            if name in other.entries or name in other.datasets:
                return NotFoundError(f"no '{name}' in this zoo, but in the {label} one", hint=f"segzoo --zoo {label} ..., or zoo='{label}' in Python")
        if Path(name).is_file():
            return NotFoundError(
                f"no '{name}' in this zoo; it is a file", hint=f"segzoo manifest add {name} --to zoo.yaml makes it an entry of your own zoo"
            )
        near = difflib.get_close_matches(name, list(among), n=1)
        guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(among)}"
        return NotFoundError(f"no '{name}' in this zoo; {guess}", hint="segzoo list shows what there is")


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
