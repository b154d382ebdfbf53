"""`python -m segzoo` and the `segzoo` command."""

import sys


def main() -> None:
    """The command. Ctrl-C while it is loaded ends it without a traceback, as it does later."""
    try:
        from segzoo.cli import interrupt
        from segzoo.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    interrupt.listen()
    try:
        command()
    except SystemExit as end:
        if end.code == interrupt.INTERRUPTED:
            interrupt.leave()
        raise


if __name__ == "__main__":
    main()
