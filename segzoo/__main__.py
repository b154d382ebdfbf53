"""`python -m segzoo` and the `segzoo` command."""

import io
import os
import sys
import warnings
from contextlib import suppress
from types import TracebackType
from typing import Any


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback, also while it is loaded."""
    try:
        from segzoo.cli import main as command
        from segzoo.cli.terminal import interrupt
        from segzoo.errors import Interrupted
    except KeyboardInterrupt:
        sys.exit(130)
    interrupt.listen()
    warnings.showwarning = _show_warning
    sys.excepthook = _show_bug
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names and titles may have characters that the terminal cannot encode
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a list of file names, which may be any bytes
    try:
        command(prog_name="segzoo")
    except (SystemExit, Exception) as end:
        code = end.code if isinstance(end, SystemExit) else 1
        if interrupt.asked() and code:
            if code != Interrupted.exit_code:
                with suppress(OSError):  # the terminal may be gone
                    sys.stderr.write(f"\n{interrupt.said(sys.argv)}\n")
            interrupt.exit_now()
        if isinstance(end, OSError) and end.filename is None:  # an error of one of our own files names it
            from segzoo.cli.ending import FULL

            if end.errno in FULL:
                give_up_output(end)
        raise


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    from segzoo.cli.terminal.failure import show_warning

    show_warning(message)


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from segzoo.cli.terminal.failure import show_traceback

    show_traceback(error)


def give_up_output(error: OSError) -> None:
    """End the program with one line on why its output cannot be written. Drop what is buffered: Python would fail on it again."""
    from segzoo.cli.terminal.failure import show_error
    from segzoo.errors import EnvironmentFault

    fault = EnvironmentFault(f"the output could not be written: {error.strerror}", hint="make room where it goes, or send it elsewhere")
    with suppress(OSError):  # stderr may be full too
        show_error(fault)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(fault.exit_code)


if __name__ == "__main__":
    main()
