"""Ctrl-C that comes through, and ends the program as a Ctrl-C does.

A compiled library that is interrupted while it is loaded may crash; JAX, interrupted in what it does at each collection of
garbage, swallows it. There a Ctrl-C waits until that is over.
"""

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from segzoo.errors import Interrupted

_GO_ON = {"fetch", "verify", "manifest", "bundle"}  # commands that fetch, or climb rung by rung
_LATER = 0.05  # seconds
_raised = False


def said(words: Iterable[str]) -> str:
    """What the person at the terminal is told, of the command among these words."""
    words = list(words)
    if _GO_ON.isdisjoint(words):
        return "interrupted; nothing is left half written."
    return f"interrupted; what has arrived is kept. Run the same command {'without --again' if '--again' in words else 'again'} to go on."


def listen() -> None:
    """From here on. Where the shell has Ctrl-C ignored, it stays so; Windows has no such timer, and goes on as Python does."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)


def asked() -> bool:
    """Whether a Ctrl-C came: an error that ends the program is then a library's word for it."""
    return _raised


def leave() -> NoReturn:
    """End the process at once, with what was written written: all is put away, and libraries that are half loaded need not be."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(Interrupted.exit_code)


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
