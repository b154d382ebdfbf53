"""Writes docs/commands.md: the help of every command, as click prints it. `python docs/commands.py` after a change."""

from collections.abc import Iterator
from pathlib import Path

import click

from segzoo.cli import main

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Commands

What `--help` says of each command. Exit codes are explained under [Troubleshooting](troubleshooting.md).

With `--json` a command prints one object: `schema`, `command`, `exit_code`, `error` (null, or its code, message and hint) and `result`. What
the result of each command is, is in [segzoo/output.schema.json](../segzoo/output.schema.json).

<!-- written by `python docs/commands.py`; a test holds it to the program -->
"""


def commands(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The name and the help, at 80 columns, of a command and of all below it."""
    with click.Context(command, parent, name, terminal_width=80, **command.context_settings) as context:
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for below, one in command.commands.items():
                yield from commands(one, below, context)


def page() -> str:
    return HEAD + "".join(f"\n## {path}\n\n```text\n{shown.rstrip()}\n```\n" for path, shown in commands(main, "segzoo"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
