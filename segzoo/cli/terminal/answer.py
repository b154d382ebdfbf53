"""What a command says to programs: with --json every command prints one object of the same shape, also if it fails."""

import os
from collections.abc import Iterable
from typing import Any

import click

from segzoo.cli.aliased import Aliased
from segzoo.cli.terminal.show import put
from segzoo.errors import SegzooError
from segzoo.text import json_text

SCHEMA = "segzoo-output/1"
_TOGETHER = ("verify",)  # commands that several processes may run together


def show_json(result: Any, *errors: SegzooError) -> None:
    """The result of the running command on stdout, as `output.schema.json` describes it.

    `errors` are what failed of several things. The one with the lowest exit code is the command's own.
    """
    context = click.get_current_context()
    words: list[str] = []
    while context.parent is not None:
        words, context = [context.info_name or "", *words], context.parent
    _show(" ".join(words), worst(errors), result)


def worst(errors: Iterable[SegzooError]) -> SegzooError | None:
    """The error that decides the exit code of a command; None if there is none."""
    return min(errors, key=lambda error: error.exit_code, default=None)


def show_failure(command: str, error: SegzooError) -> None:
    """The same for a command that failed."""
    _show(command, error, None)


def answers(command: str | None) -> bool:
    """Whether this process prints the answer. Of several processes that `torchrun` started for one command, only the first does.

    The others print their errors on stderr, since an error may be theirs alone.
    """
    return command not in _TOGETHER or os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def problem(error: SegzooError) -> dict[str, Any]:
    """An error as JSON, of a whole command or of one of several things."""
    return {"code": error.exit_code, "message": error.message, "hint": error.hint}


def _show(command: str, error: SegzooError | None, result: Any) -> None:
    code, said = (error.exit_code, problem(error)) if error else (0, None)
    put(*json_text({"schema": SCHEMA, "command": command, "exit_code": code, "error": said, "result": result}).split("\n"))


def command_words(group: click.Group, arguments: Iterable[str]) -> str:
    """The command among these arguments, with its sub-command."""
    words: list[str] = []
    command: click.Command = group
    for argument in arguments:
        for word in command.earlier.get(argument, (argument,)) if isinstance(command, Aliased) else (argument,):
            if isinstance(command, click.Group) and word in command.commands:
                words.append(word)
                command = command.commands[word]
    return " ".join(words)
