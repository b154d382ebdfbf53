"""A manifest in use, or several as one: the zoo, the folder its addresses start from, the store, and what the network may be asked.

What downloads is imported when something is: `list` and `info` need no arrays and no HTTP.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segzoo.errors import ConversionError, IntegrityError, UsageError
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Manifest
from segzoo.manifest.merge import Part, Zoos, merged, parts_of
from segzoo.store.store import LOCK_NAME, Store, home

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched
    from segzoo.store.policy import Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Zoo:
    """`label` is a short name for it. `origins` says for each name
    which of the `parts` it is from, `hidden` what of later ones does not count.
    """

    manifest: Manifest
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
        from segzoo.zoo.opened import open_entry

        entry = next((entry for entry in self.manifest.entries.values() if entry.artifact == artifact), None)
        if entry is None:
            opens(artifact, path)
            return
        try:
            with naming(path):
                open_entry(entry, path)
        except ConversionError as error:
            raise IntegrityError(error.message) from error

    def fetch(self, artifact: Artifact, said: Callable[[int, int | None], None]) -> Fetched:
        """The artifact in the store, as the user allows."""
        from segzoo.store.fetch import fetch

        return fetch(artifact, self.store, self.base, said, policy=self.policy())


def open_zoo(manifest: Zoos = None, offline: bool = False, mirrors: tuple[str, ...] = ()) -> Zoo:
    """The manifest at a path, the embedded one for `mini`, the shipped one for `shipped` or where none is named; never the
    working folder's unasked. Of several the earlier ones count, name by name.

    Pins are kept beside the first manifest of one's own, else in the store's folder.
    """
    parts = parts_of(manifest)
    whole = merged(parts)
    label = "+".join(dict.fromkeys(part.label for part in parts))
    if wrong := [url for url in mirrors if not url.startswith(("http://", "https://"))]:
        raise UsageError(f"mirror '{wrong[0]}' is no http or https address")
    return Zoo(whole.manifest, parts[0].folder, store_of(parts), label, offline, mirrors, tuple(parts), whole.origins, whole.hidden)


def store_of(parts: Iterable[Part]) -> Store:
    """The store, with the pins that are kept for these manifests."""
    own = next((part for part in parts if part.own), None)
    return Store(home(), (own.folder if own else home()) / LOCK_NAME)
