"""Which manifest a command works with: `--zoo PATH`, `--zoo mini`, or the shipped one; never the working folder's."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segzoo.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from segzoo.delivery import Fetched, Policy
    from segzoo.store import Store
    from segzoo.zoo import Artifact, Zoo

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


def network_options(command: Command) -> Command:
    """`--offline` and `--mirror`, which every command that may fetch has."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        context.obj = replace(context.obj, **{parameter.name or "": value})

    mirror = "Address to try first, followed by the file's published name; may be given again."
    options = (
        click.option("--offline", is_flag=True, envvar="SEGZOO_OFFLINE", help="Open no connection.", callback=remember, expose_value=False),
        click.option("--mirror", "mirrors", multiple=True, metavar="URL", envvar="SEGZOO_MIRROR", help=mirror, callback=remember, expose_value=False),
    )
    for option in options:
        command = option(command)
    return command


@dataclass(frozen=True)
class Choice:
    """The value of `--zoo`, and what `--offline` and `--mirror` say of the network."""

    zoo: str | None
    offline: bool = False
    mirrors: tuple[str, ...] = ()

    def load(self) -> Manifest:
        from segzoo.store import LOCK_NAME, Store, home
        from segzoo.zoo import load, packaged

        own = Path(self.zoo) if self.zoo not in (None, "mini") else None
        path = own or packaged("mini/zoo.yaml" if self.zoo == "mini" else "zoo.yaml")
        lock = path.resolve().parent / LOCK_NAME if own else home() / LOCK_NAME
        label = path.resolve().parent.name if own else self.zoo or "shipped"
        if wrong := [url for url in self.mirrors if not url.startswith(("http://", "https://"))]:
            raise UsageError(f"mirror '{wrong[0]}' is no http or https address")
        return Manifest(load(path), path.resolve().parent, Store(home(), lock), label, self)


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read, the folder its relative addresses start from, and the store that goes with it."""

    zoo: Zoo
    base: Path
    store: Store
    label: str
    choice: Choice

    def policy(self, **more: Any) -> Policy:
        """What the user allows of the network."""
        from segzoo.delivery import Policy

        return Policy(offline=self.choice.offline, mirrors=self.choice.mirrors, **more)

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
