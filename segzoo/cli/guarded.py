"""The main group: it tells a misplaced option its place, and hands what ends a command to `ending`."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from segzoo.cli.aliased import WORDS
from segzoo.cli.table import Tabled


def legibly(error: click.UsageError) -> click.UsageError:
    """The error with what was typed in it legible. A missing parameter's message has lines of click's own, and nothing that was typed."""
    from segzoo.text import brief

    return error if isinstance(error, click.MissingParameter) else click.UsageError(brief(error.format_message(), 4000), error.ctx)


@contextmanager
def _read() -> Iterator[None]:
    """Where the reader of the output has left, end as any other program in a pipe: by SIGPIPE. Click would exit with 1, as for a bug."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE and hasattr(signal, "SIGPIPE"):
            from segzoo.cli.terminal.interrupt import end_by

            end_by(signal.SIGPIPE)
        raise


class Guarded(Tabled):
    """A group whose commands end with a message and an exit code, never with a traceback unless it is asked for or a bug."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [*args]
        try:
            with _read():  # --help is printed here
                return super().parse_args(ctx, args)
        except click.UsageError as error:
            wrong = self._placed(error, given, ctx)
            if "--json" in given:
                from segzoo.cli.ending import answer_of

                answer_of(wrong, self, given)
            raise (legibly(wrong) if wrong is error else wrong) from None

    def _placed(self, error: click.UsageError, given: list[str], ctx: click.Context) -> click.UsageError:
        """The error; for an option of a command that stands before it, one that says its place."""
        if not isinstance(error, click.NoSuchOption):
            return error
        owners = [name for name, command in self.commands.items() if any(error.option_name in one.opts for one in command.params)]
        if not owners:
            return error
        named = next((word for word in given if word in owners), "COMMAND")
        hint = f"{error.option_name} stands after the command: segzoo {named} ..."
        return click.UsageError(f"No such option '{error.option_name}'.\nhint: {hint}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _read():
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            from segzoo.cli.ending import end  # a command that succeeds does not pay for it

            end(error, self, ctx.meta.get(WORDS, [""]))
            if isinstance(error, click.UsageError):
                raise legibly(error) from None
            raise
