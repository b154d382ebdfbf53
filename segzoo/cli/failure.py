"""How an error looks to the person at the terminal."""

from segzoo.errors import SegzooError


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next."""
    from segzoo.cli.output import show

    show(f"error: {error.message}", style="red", err=True)
    if error.hint:
        show(f"hint: {error.hint}", err=True)
