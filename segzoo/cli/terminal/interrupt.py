"""Signals that end the program: none crashes it, and none leaves a half-written file.

A compiled library may crash if it is interrupted while it is loaded. JAX swallows an interrupt that comes in its callback for
garbage collection. In both places Ctrl-C waits until they are over. SIGTERM and SIGHUP (the terminal was closed) are not raised as
errors that a library could swallow: the process removes what it has not finished, and ends by the signal, without a word.
"""

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from segzoo.errors import Interrupted

_GO_ON = {"fetch", "verify", "manifest", "load", "run"}  # commands that fetch, or climb rung by rung
_LATER = 0.05  # seconds
_raised = False


def said(words: Iterable[str]) -> str:
    """The message after a Ctrl-C, for the command among these words."""
    words = list(words)
    if _GO_ON.isdisjoint(words):
        return "interrupted; nothing is left half written."
    return f"interrupted; what has arrived is kept. Run the same command {'without --again' if '--again' in words else 'again'} to go on."


def listen() -> None:
    """Handle the signals from now on. One that the caller ignores stays ignored, as SIGHUP under nohup. Windows has no such timer: Python
    handles Ctrl-C there. Processes under torchrun wait for each other in compiled code, where no handler runs: SIGTERM ends them at once.
    """
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL and "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(number, lambda number, frame: end_by(number))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)


def asked() -> bool:
    """Whether Ctrl-C was pressed. A library may have turned it into an error of its own."""
    return _raised


def exit_now() -> NoReturn:
    """Remove half-written files, flush the output and end the process at once: a half-loaded library may crash at an orderly exit."""
    from segzoo.atomic import remove_parts

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    remove_parts()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(Interrupted.exit_code)


def end_by(number: int) -> NoReturn:
    """Remove half-written files, and end the process by a signal, so that its parent sees which: a shell shows 128 and the number.

    Nothing is flushed: the handler may have come in the middle of a write.
    """
    from segzoo.atomic import remove_parts

    signal.signal(number, signal.SIG_IGN)  # while files are removed
    with suppress(OSError):
        remove_parts()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _raised
    place = frame
    while place is not None:
        if place.f_code.co_filename.startswith("<frozen importlib") or place.f_code.co_name == "_xla_gc_callback":
            signal.setitimer(signal.ITIMER_REAL, _LATER)
            return
        place = place.f_back
    _raised = True
    raise KeyboardInterrupt
