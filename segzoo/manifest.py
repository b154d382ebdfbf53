"""A manifest in use: the zoo it describes, the folder its addresses start from, the store, and what the network may be asked.

What downloads is imported when something is: `list` and `info` need no arrays and no HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segzoo.errors import NotFoundError, UsageError
from segzoo.store import LOCK_NAME, Store, home
from segzoo.zoo import Artifact, Zoo, load, packaged

if TYPE_CHECKING:
    from segzoo.delivery import Fetched, Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """`label` is a short name for it; its receipts lie in a folder of that name."""

    zoo: Zoo
    base: Path
    store: Store
    label: str
    offline: bool = False
    mirrors: tuple[str, ...] = ()

    def policy(self, **more: Any) -> Policy:
        """What the user allows of the network."""
        from segzoo.delivery import Policy

        return Policy(offline=self.offline, mirrors=self.mirrors, **more)

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
                near = difflib.get_close_matches(name, list(among), n=1)
                guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(among)}"
                raise NotFoundError(f"no '{name}' in this zoo; {guess}", hint="segzoo list shows what there is")
        return {name: among[name] for name in names}


def open_manifest(zoo: str | Path | None = None, offline: bool = False, mirrors: tuple[str, ...] = ()) -> Manifest:
    """The manifest at a path, the embedded one for `mini`, or the shipped one; never the working folder's unasked."""
    own = Path(zoo) if zoo not in (None, "mini") else None
    path = own or packaged("mini/zoo.yaml" if zoo == "mini" else "zoo.yaml")
    lock = path.resolve().parent / LOCK_NAME if own else home() / LOCK_NAME
    label = path.resolve().parent.name if own else str(zoo or "shipped")
    if wrong := [url for url in mirrors if not url.startswith(("http://", "https://"))]:
        raise UsageError(f"mirror '{wrong[0]}' is no http or https address")
    return Manifest(load(path), path.resolve().parent, Store(home(), lock), label, offline, mirrors)
