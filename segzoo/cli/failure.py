"""How an error looks to the person at the terminal."""

import json

import click

from segzoo.errors import SegzooError


def show_error(error: SegzooError, as_json: bool = False) -> None:
    """One message on stderr, and what to do next; with --json the same on stdout for programs."""
    from segzoo.cli.output import show

    if as_json:
        click.echo(json.dumps({"error": {"code": error.exit_code, "message": error.message, "hint": error.hint}}, indent=2))

    show(f"error: {error.message}", style="red", err=True)
    if error.hint:
        show(f"hint: {error.hint}", err=True)
