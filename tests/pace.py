"""How slow this core is: a bar of processor time holds for a core that does `plain` in 0.06 s, and is as much longer as a core takes longer.

So a bar means the same work on a busy or a slow machine, and it is never longer than it says on a quick one.
"""

import time
from contextlib import contextmanager

_QUICK = 0.06  # processor seconds


def pace():
    """How many times longer than on a quick core the same takes here and now; at least 1."""
    return max(1.0, _plain() / _QUICK)


@contextmanager
def within(seconds):
    """What is done within takes no more processor time than so many seconds of a quick core."""
    before, began = pace(), time.process_time()
    yield
    took = time.process_time() - began
    most = seconds * max(before, pace())
    assert took <= most, f"{took:.2f} s of processor time, of {most:.2f} s"


def _plain():
    """Names are made, kept, looked up and sorted: what reading a file of many names comes to."""
    began = time.process_time()
    kept = {f"name.{number}": [number] for number in range(120_000)}
    assert len(sorted(name for name in kept if kept[name])) == len(kept)
    return time.process_time() - began
