"""What `--zoo` opens: one manifest or several as one, with the store, and with what the user allows of the network.

The modules that download are imported by the functions that use them, since `list` and `info` need no arrays and no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo import environment
from segzoo.errors import ConversionError, IntegrityError, UsageError
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.document import Manifest
from segzoo.manifest.merge import ZooPart, Zoos, merged, parts_of
from segzoo.store.store import LOCK_NAME, Store, home, receipts
from segzoo.text import quoted

if TYPE_CHECKING:
    from segzoo.store.fetched import Fetched
    from segzoo.store.policy import Policy

ByteProgress = Callable[[int, int | None], None]
"""Called with the bytes done, and with the bytes in all where they are known."""


@dataclass(frozen=True)
class Zoo:
    """A manifest in use. `base` is the folder that relative addresses start from, `label` a short name for people.

    `origins` maps each name to the one of the `parts` that it comes from. `hidden` says in words which entries of later parts lose.
    `deadline` is how many seconds a download may take; None leaves it to its size. `netrc` allows credentials from ~/.netrc.
    """

    manifest: Manifest
    base: Path
    store: Store
    label: str
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    parts: tuple[ZooPart, ...] = ()
    origins: Mapping[str, ZooPart] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    deadline: float | None = None
    netrc: bool = False

    def receipts_of(self, name: str) -> Path:
        """The folder of an entry's receipt. It belongs to the manifest that has the entry, also where several are in use."""
        return receipts() / self.origins[name].label

    def receipt_of(self, name: str) -> Path:
        return self.receipts_of(name) / f"{name}.json"

    @property
    def option(self) -> str:
        """The --zoo options for a command that a message suggests, with a space at the end; empty for the shipped zoo."""
        return "" if self.label == "shipped" else "".join(f"--zoo {quoted(part.given)} " for part in self.parts)

    def policy(self, **more: Any) -> Policy:
        """What the user allows of the network."""
        from segzoo.store.http import Patience
        from segzoo.store.policy import Policy

        patience = Patience(deadline=self.deadline, connections=environment.connections() or Patience().connections)
        return Policy(offline=self.offline, mirrors=self.mirrors, netrc=self.netrc, patience=patience, look=self.look, **more)

    def look(self, artifact: Artifact, path: Path) -> None:
        """Open a file as this artifact, and compare layout, geometry and dtype with its entry. Raises IntegrityError where they differ."""
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

    def fetch(self, artifact: Artifact, said: ByteProgress) -> Fetched:
        """The artifact, fetched into the store as far as the user allows the network."""
        from segzoo.store.fetch import fetch

        return fetch(artifact, self.store, self.base, said, policy=self.policy())


def open_zoo(manifest: Zoos = None, offline: bool | None = None, mirrors: str | Sequence[str] | None = None, deadline: float | None = None) -> Zoo:
    """Open one manifest or several: paths, `mini` or `shipped`. Without a name it is `shipped`; the working folder's manifest is
    used only where it is named.

    What is left open, SEGZOO_ZOO, SEGZOO_OFFLINE, SEGZOO_MIRROR and SEGZOO_DEADLINE decide, and SEGZOO_NETRC whether ~/.netrc is used.
    If several manifests use the same name, the earlier one wins. Pins are kept beside the first manifest of one's own, else in the store's folder.
    """
    parts = parts_of(manifest if isinstance(manifest, str | Path) else manifest or environment.zoos())
    whole = merged(parts)
    label = "+".join(dict.fromkeys(part.label for part in parts))
    tried = (mirrors,) if isinstance(mirrors, str) else tuple(mirrors or environment.mirrors())
    if wrong := [url for url in tried if not url.startswith(("http://", "https://"))]:
        raise UsageError(f"mirror '{wrong[0]}' is no http or https address")
    alone = environment.offline() if offline is None else offline
    until = environment.deadline() if deadline is None else deadline
    known = (tuple(parts), whole.origins, whole.hidden)
    return Zoo(whole.manifest, parts[0].folder, store_of(parts), label, alone, tried, *known, until, environment.netrc())


def store_of(parts: Iterable[ZooPart]) -> Store:
    """The store, with the lock file of these manifests."""
    own = next((part for part in parts if part.own), None)
    return Store(home(), (own.folder if own else home()) / LOCK_NAME)
