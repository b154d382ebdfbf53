"""Which manifest a command works with: `--zoo PATH`, `--zoo mini`, or the shipped one; never the working folder's."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segzoo.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from segzoo.store import Store
    from segzoo.zoo import Zoo

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The value of `--zoo`."""

    zoo: str | None

    def load(self) -> Manifest:
        from segzoo.store import LOCK_NAME, Store, home
        from segzoo.zoo import load, packaged

        own = Path(self.zoo) if self.zoo not in (None, "mini") else None
        path = own or packaged("mini/zoo.yaml" if self.zoo == "mini" else "zoo.yaml")
        lock = path.resolve().parent / LOCK_NAME if own else home() / LOCK_NAME
        label = path.resolve().parent.name if own else self.zoo or "shipped"
        return Manifest(load(path), path.resolve().parent, Store(home(), lock), label)


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read, the folder its relative addresses start from, and the store that goes with it."""

    zoo: Zoo
    base: Path
    store: Store
    label: str

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
