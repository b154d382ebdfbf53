"""How an error looks to the person at the terminal."""

from segzoo.errors import SegzooError


def show_error(error: SegzooError) -> None:
    """One message on stderr, and what to do next."""
    from segzoo.cli.output import tell

    tell(f"error: {error.message}", style="red")
    if error.hint:
        tell(f"hint: {error.hint}")
