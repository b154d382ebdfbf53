"""`python -m segzoo` and the `segzoo` command."""

import errno
import io
import os
import sys
from contextlib import suppress

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """The command. Ctrl-C while it is loaded ends it without a traceback, as it does later."""
    try:
        from segzoo.cli import main as command
        from segzoo.cli.terminal import interrupt
        from segzoo.errors import Interrupted
    except KeyboardInterrupt:
        sys.exit(130)
    interrupt.listen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names and titles may have what a terminal's encoding has not
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a list of files, whose names need not be in any encoding
    try:
        command(prog_name="segzoo")
    except (SystemExit, Exception) as end:
        code = end.code if isinstance(end, SystemExit) else 1
        if interrupt.asked() and code:
            if code != Interrupted.exit_code:
                sys.stderr.write(f"\n{interrupt.said(sys.argv)}\n")
            interrupt.leave()
        if not isinstance(end, OSError) or end.errno not in FULL or end.filename is not None:
            raise
        give_up_output(end)  # what our own files meet names them; this is of the output


def give_up_output(error: OSError) -> None:
    """Ends the program with one line on why its output cannot be written, and drops what waits, on which Python would fail again."""
    from segzoo.cli.terminal.failure import show_error
    from segzoo.errors import EnvironmentFault

    fault = EnvironmentFault(f"the output could not be written: {error.strerror}", hint="make room where it goes, or send it elsewhere")
    with suppress(OSError):  # stderr may go there too
        show_error(fault)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(fault.exit_code)


if __name__ == "__main__":
    main()
