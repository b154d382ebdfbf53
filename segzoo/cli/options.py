"""What every command may be told: the manifests to use and how much to say; and what some may ask of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segzoo import environment
from segzoo.cli.completion import ManifestPath
from segzoo.cli.terminal.loudness import QUIET, VERBOSE, verbosity

if TYPE_CHECKING:
    from segzoo.zoo.zoo import Zoo

Command = TypeVar("Command", bound=Callable[..., Any])
_TOLD = "segzoo: hidden entries were told"


def config_option(command: Command) -> Command:
    """`--config`, which every command has that makes a model of a file of the user's own."""
    from pathlib import Path  # the commands import it themselves; `--help` does without

    told = "Config that your own file was trained with: Python text of MMSegmentation, or config.json."
    return click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=told)(command)


@dataclass(frozen=True)
class Choice:
    """The values of `--zoo`, `--offline`, `--mirror` and `--deadline`. Where they are not given, the environment decides."""

    zoos: tuple[str, ...] = ()
    offline: bool | None = None
    mirrors: tuple[str, ...] = ()
    deadline: int | None = None

    @property
    def zoo(self) -> tuple[str, ...]:
        """The chosen manifests, as they were given."""
        return self.zoos or environment.zoos()

    @property
    def option(self) -> str:
        """The chosen manifests as they stand in a command that the user is told to give next, with a space after them."""
        from segzoo.text import quoted

        return "".join(f"--zoo {quoted(zoo)} " for zoo in self.zoo)

    def open(self) -> Zoo:
        """The chosen manifests, opened. With -v, entries that an earlier manifest hides are named, once a program."""
        from segzoo.cli.terminal.show import tell
        from segzoo.zoo.zoo import open_zoo

        zoo = open_zoo(self.zoo, self.offline, self.mirrors, self.deadline)
        told = click.get_current_context().meta
        if verbosity() and not told.get(_TOLD):
            told[_TOLD] = True
            for sentence in zoo.hidden:
                tell(sentence)
        return zoo


def program_options(*, hidden: bool) -> list[click.Parameter]:
    """`--zoo`, `-q` and `-v`. They stand in front of the command, where help shows them, or behind it."""
    manifests = (
        "Manifest to use: a zoo.yaml, 'mini' for the embedded one, or 'shipped', the default. May be given several times; where two "
        "manifests use the same name, the earlier manifest wins. SEGZOO_ZOO, a list like PATH, stands for it."
    )

    def use(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        choice = context.obj or Choice()
        context.obj = replace(choice, zoos=(*choice.zoos, *value))

    def count(key: str) -> Callable[[click.Context, click.Parameter, int], None]:
        def add(context: click.Context, parameter: click.Parameter, value: int) -> None:
            context.meta[key] = context.meta.get(key, 0) + value

        return add

    common: dict[str, Any] = {"expose_value": False, "hidden": hidden}
    return [
        click.Option(["--zoo"], type=ManifestPath(), multiple=True, metavar="PATH|mini|shipped", help=manifests, callback=use, **common),
        click.Option(["-q", "--quiet"], is_flag=True, help="Results and errors only: no progress.", callback=count(QUIET), **common),
        click.Option(["-v", "--verbose"], count=True, help="Say more; -vv shows tracebacks.", callback=count(VERBOSE), **common),
    ]


def with_program_options(command: click.Command) -> click.Command:
    """The command, and those below it, with the options of the program behind it too."""
    command.params = [*command.params, *program_options(hidden=True)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_program_options(below)
    return command


def network_options(command: Command) -> Command:
    """`--offline`, `--mirror` and `--deadline`, which every command that may fetch has."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        context.obj = replace(context.obj or Choice(), **{parameter.name or "": value})

    offline = "Open no connection. SEGZOO_OFFLINE=1 stands for it."
    mirror = "Address to try first, followed by the file's published name; may be given again. SEGZOO_MIRROR stands for it."
    deadline = "Longest time for one file; by default 300, and 1 more for every 32 kB. SEGZOO_DEADLINE stands for it."
    options = (
        click.option("--offline", is_flag=True, default=None, help=offline, callback=remember, expose_value=False),
        click.option("--mirror", "mirrors", multiple=True, metavar="URL", help=mirror, callback=remember, expose_value=False),
        click.option("--deadline", type=click.IntRange(1), metavar="SECONDS", help=deadline, callback=remember, expose_value=False),
    )
    for option in options:
        command = option(command)
    return command
