"""Which manifest a command works with, and what it may ask of the network: `--zoo`, `--offline`, `--mirror`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from segzoo.manifest import Manifest

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
        from segzoo.manifest import open_manifest

        return open_manifest(self.zoo, self.offline, self.mirrors)
