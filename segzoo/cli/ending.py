"""The end of a command that fails: one message on stderr, an exit code, and with --json the same as JSON on stdout."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

import click

from segzoo.cli.terminal.answer import answers, command_words, show_failure
from segzoo.cli.terminal.failure import show_error
from segzoo.cli.terminal.interrupt import said
from segzoo.errors import EnvironmentFault, Interrupted, SegzooError, UsageError
from segzoo.extras import missing

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says of an output, such as a redirected stdout, that takes no more. `segzoo.__main__` tells it."""


def end(error: BaseException, group: click.Group, words: Sequence[str]) -> None:
    """Show what ended a command and exit with its code. `words` are the command and all that was typed after it.

    Returns where click or Python shows the error itself: a wrong call, a bug, a closed pipe.
    """
    fault = answer_of(error, group, words)
    if fault is None:
        return
    if isinstance(error, KeyboardInterrupt):
        click.echo(f"\n{fault.message}", err=True)
    elif error is fault or isinstance(fault, EnvironmentFault):
        if not fault.elsewhere:
            show_error(fault)
    elif isinstance(error, click.NoSuchOption) and fault.hint:
        raise click.UsageError(f"{fault.message}\nhint: {fault.hint}", error.ctx) from None
    else:
        return
    sys.exit(fault.exit_code)


def answer_of(error: BaseException, group: click.Group, words: Sequence[str]) -> SegzooError | None:
    """The fault that an error is. If the words ask for JSON, it is printed."""
    fault = fault_of(error, group, words)
    if fault and "--json" in words and answers(words[0]):
        show_failure(command_words(group, words), fault)
    return fault


def fault_of(error: BaseException, group: click.Group, words: Sequence[str]) -> SegzooError | None:
    """The branch of the error tree that an error belongs to; None for a closed pipe, and for an output that cannot be written."""
    match error:
        case SegzooError():
            return error
        case KeyboardInterrupt():
            return Interrupted(said(words))
        case click.NoSuchOption():
            return UsageError(error.format_message(), misplaced(error.option_name, command_words(group, words)))
        case click.ClickException():
            message, _, hint = error.format_message().partition("\nhint: ")
            return UsageError(message, hint or None)
        case ImportError() if fault := missing(error):
            return fault
        case OSError() if error.errno == errno.EPIPE or (error.filename is None and error.errno in FULL):
            return None
        case OSError() if error.filename is not None:  # no command foresees a name that is too long, or a folder that may not be entered
            return EnvironmentFault(f"{error.filename}: {error.strerror}").with_traceback(error.__traceback__)
        case _:
            return SegzooError(f"a bug in segzoo: {error!r}", hint="report the traceback on stderr")


def misplaced(option: str, words: str) -> str | None:
    """What to type in place of an option that a command does not have, but another program's command has."""
    if option in ("-o", "--output") and words == "convert":
        return "where to write is the last argument: segzoo convert SRC DST"
    return None
