"""What every command may be told: the manifests to use (`--zoo`), and what it may ask of the network (`--offline`, `--mirror`)."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from segzoo.zoo.zoo import Zoo

Command = TypeVar("Command", bound=Callable[..., Any])
_TOLD = "segzoo: hidden entries were told"


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


def config_option(command: Command) -> Command:
    """`--config`, which every command has that makes a model of a file of the user's own."""
    from pathlib import Path  # the commands import it themselves; `--help` does without

    told = "Config that your own file was trained with: Python text of MMSegmentation, or config.json."
    return click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=told)(command)


@dataclass(frozen=True)
class Choice:
    """The values of `--zoo`, `--offline` and `--mirror`."""

    zoo: tuple[str, ...] = ()
    offline: bool = False
    mirrors: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The chosen manifests as they stand in a command that the user is told to give next, with a space after them."""
        return "".join(f"--zoo {shlex.quote(zoo)} " for zoo in self.zoo)

    def open(self) -> Zoo:
        """The chosen manifests, opened. With -v, entries that an earlier manifest hides are named, once a program."""
        from segzoo.cli.terminal.show import tell, verbosity
        from segzoo.zoo.zoo import open_zoo

        zoo = open_zoo(self.zoo, self.offline, self.mirrors)
        root = click.get_current_context().find_root()
        if verbosity() and not root.meta.get(_TOLD):
            root.meta[_TOLD] = True
            for sentence in zoo.hidden:
                tell(sentence)
        return zoo
