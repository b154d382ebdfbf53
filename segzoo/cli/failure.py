"""How an error looks to the person at the terminal."""

import traceback

import click

from segzoo.errors import SegzooError


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next; with -vv the traceback comes before it."""
    from segzoo.cli.output import show

    if _loud() and error.__traceback__:
        show("".join(traceback.format_exception(error)).rstrip(), style="dim", err=True)
    show(f"error: {error.message}", style="red", err=True)
    if error.hint:
        show(f"hint: {error.hint}", err=True)


def _loud() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().params.get("verbose", 0) >= 2)
