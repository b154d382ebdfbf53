"""How an error looks to the person at the terminal."""

import click

from segzoo.errors import SegzooError


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next."""
    click.secho(f"error: {error.message}", err=True, fg="red")
    if error.hint:
        click.secho(f"hint: {error.hint}", err=True)
