"""How much processor time something takes, in units of plain work that is timed beside it: a busy or slow machine slows both."""

import time
from contextlib import contextmanager


def plain() -> float:
    """The processor seconds of one unit: names are made, kept, looked up and sorted. Some 0.1 to 0.3 s."""
    began = time.process_time()
    kept = {f"name.{number}": [number] for number in range(120_000)}
    assert len(sorted(name for name in kept if kept[name])) == 120_000
    return time.process_time() - began


@contextmanager
def at_most(units):
    """What is done within takes no more processor time than so many units, timed before and after it."""
    before = plain()
    began = time.process_time()
    yield
    took = time.process_time() - began
    unit = max(before, plain())
    print(f"{took / unit:.2f} units of {unit:.3f} s")
    assert took <= units * unit, f"{took:.2f} s of processor time, more than {units} times the {unit:.2f} s of plain work beside it"
