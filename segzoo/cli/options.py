"""Which manifest a command works with, and what it may ask of the network: `--zoo`, `--offline`, `--mirror`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from segzoo.manifest.entries import Entry
    from segzoo.zoo.zoo import Zoo

Command = TypeVar("Command", bound=Callable[..., Any])
_SAID = "segzoo: what is hidden was said"


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
    """The values of `--zoo`, and what `--offline` and `--mirror` say of the network."""

    zoo: tuple[str, ...] = ()
    offline: bool = False
    mirrors: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The choice of manifests as it stands in a command that one is told to give next, with a space after it."""
        return "".join(f"--zoo {shlex.quote(zoo)} " for zoo in self.zoo)

    def open(self) -> Zoo:
        """The manifests, opened; what hides what is said once, with -v."""
        from segzoo.cli.terminal.show import tell, verbosity
        from segzoo.zoo.zoo import open_zoo

        zoo = open_zoo(self.zoo, self.offline, self.mirrors)
        root = click.get_current_context().find_root()
        if verbosity() and not root.meta.get(_SAID):
            root.meta[_SAID] = True
            for sentence in zoo.hidden:
                tell(sentence)
        return zoo

    def of_zoo(self, name: str) -> tuple[Path, Entry]:
        """The file behind a name in the zoo, fetched if need be, and its entry. Raises NotFoundError."""
        from segzoo.cli.terminal.progress import byte_progress
        from segzoo.zoo.names import resolve_one

        zoo = self.open()
        entry = resolve_one(zoo, name, zoo.manifest.entries)
        with byte_progress(entry.artifact.name) as said:
            return zoo.fetch(entry.artifact, said).path, entry

    def weights(self, source: str) -> Path:
        """A file of weights: the user's own, or that of a name in the zoo."""
        return Path(source) if Path(source).is_file() else self.of_zoo(source)[0]
