"""How much is said: -q and -v, wherever in the command they stand."""

import click

QUIET, VERBOSE = "segzoo: -q", "segzoo: -v"
"""Where a context, and all below it, keep how often each was given."""


def quiet() -> bool:
    """Whether -q was given: only results and errors are shown."""
    return _given(QUIET) > 0


def verbosity() -> int:
    """How often -v was given."""
    return _given(VERBOSE)


def _given(key: str) -> int:
    context = click.get_current_context(silent=True)
    return int(context.meta.get(key, 0)) if context else 0
