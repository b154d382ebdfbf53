"""The commands. Each file parses, calls and prints; the work is elsewhere, and imported only when it is done.

This is the only place that knows click and rich, and the only one that turns errors into exit codes.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from segzoo.cli.commands.adopt import adopt
from segzoo.cli.commands.bundle import bundle
from segzoo.cli.commands.cache import cache
from segzoo.cli.commands.convert import convert
from segzoo.cli.commands.doctor import doctor
from segzoo.cli.commands.explain import explain
from segzoo.cli.commands.export import export
from segzoo.cli.commands.fetch import fetch
from segzoo.cli.commands.info import info
from segzoo.cli.commands.inspect import diff, inspect
from segzoo.cli.commands.list import list_
from segzoo.cli.commands.manifest import manifest
from segzoo.cli.commands.predict import predict
from segzoo.cli.commands.receipt import receipt
from segzoo.cli.commands.report import report
from segzoo.cli.commands.verify import verify
from segzoo.cli.completion import ManifestPath, completion
from segzoo.cli.options import Choice
from segzoo.cli.terminal.answer import answers, command_words, show_failure
from segzoo.cli.terminal.failure import show_error
from segzoo.cli.terminal.interrupt import said
from segzoo.errors import EnvironmentFault, Interrupted, SegzooError, UsageError

EPILOG = """\b
Exit codes: 0 ok, 1 a bug, 2 usage, 3 network, 4 integrity (hash, damaged or
unsafe file), 5 conversion (names, shapes, numbers), 6 accuracy (mIoU),
7 not found, 8 environment (disk, permission, data set, missing extra),
130 interrupted.

\b
Start here:
  segzoo --zoo mini verify --all     prove the embedded mini zoo, offline
  segzoo list                        what the shipped zoo holds
"""


class Guarded(click.Group):
    """Shows an error as one message on stderr, with the exit code of its branch.

    With --json, whatever ends a command is JSON on stdout too: once, where several processes work at it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [*args]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            owners = [name for name, command in self.commands.items() if any(error.option_name in one.opts for one in command.params)]
            if not owners:
                raise
            named = next((word for word in given if word in owners), "COMMAND")
            hint = f"{error.option_name} stands after the command: segzoo {named} ..."
            raise click.UsageError(f"No such option '{error.option_name}'.\nhint: {hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        arguments = [*ctx.args]

        def words() -> str:
            return command_words(self, [ctx.invoked_subcommand or "", *arguments])

        def failed(error: SegzooError) -> None:
            if "--json" in arguments and answers(ctx.invoked_subcommand):
                show_failure(words(), error)

        try:
            return super().invoke(ctx)
        except SegzooError as error:
            failed(error)
            if not error.elsewhere:
                show_error(error)
            sys.exit(error.exit_code)
        except (click.exceptions.Exit, click.exceptions.Abort):
            raise
        except click.NoSuchOption as error:
            hint = misplaced(self, error.option_name, words())
            failed(UsageError(error.format_message(), hint))
            raise click.UsageError(f"{error.format_message()}\nhint: {hint}", error.ctx) if hint else error from None
        except click.ClickException as error:
            failed(UsageError(error.format_message()))
            raise
        except OSError as error:  # what no command expects of a path: a name too long, a folder one may not enter
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            fault = EnvironmentFault(f"{error.filename}: {error.strerror}")
            failed(fault)
            show_error(fault.with_traceback(error.__traceback__))
            sys.exit(fault.exit_code)
        except KeyboardInterrupt:
            message = said([ctx.invoked_subcommand or "", *arguments])
            failed(Interrupted(message))
            click.echo(f"\n{message}", err=True)
            sys.exit(Interrupted.exit_code)
        except Exception as error:
            failed(SegzooError(f"a bug in segzoo: {error!r}", hint="report the traceback on stderr"))
            raise


def misplaced(group: click.Group, option: str, words: str) -> str | None:
    """What to do about an unknown option of a command, where it is one of the main program's, or a folder that comes last."""
    if option in ("-o", "--output") and words == "convert":
        return "where to write is the last argument: segzoo convert SRC DST"
    if not any(option in parameter.opts for parameter in group.params):
        return None
    return f"{option} stands before the command: segzoo {option}{' mini' if option == '--zoo' else ''} {words} ..."


@click.group(cls=Guarded, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--zoo",
    type=ManifestPath(),
    multiple=True,
    metavar="PATH|mini|shipped",
    envvar="SEGZOO_ZOO",
    help="Manifest to use: a zoo.yaml, 'mini' for the embedded one, or 'shipped', the default. May be given again: of two things of one "
    "name that of the earlier counts. SEGZOO_ZOO, a list as PATH is, stands for it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Results and errors only: no progress.")
@click.option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.")
@click.version_option(package_name="segzoo")
@click.pass_context
def main(ctx: click.Context, zoo: tuple[str, ...], quiet: bool, verbose: int) -> None:
    """Turn published ViT weights into segmentation models one can trust.

    segzoo fetches weights by content, converts them by a table that reads both ways, and proves the
    result by bytes, by numbers and by mIoU.
    """
    ctx.obj = Choice(zoo)


_COMMANDS = (
    *(fetch, convert, verify, report, predict, export),
    *(list_, info, inspect, diff),
    *(cache, adopt, bundle, manifest, receipt),
    *(doctor, explain, completion),
)
for command in _COMMANDS:
    main.add_command(command)
