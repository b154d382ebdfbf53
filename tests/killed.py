"""What workers of the tests do: answer, die, die once, hang. Found by name in worker processes. And which processes live."""

import os
import signal
import time
from pathlib import Path


def double(number):
    return 2 * number


def doomed(number):
    """Three is what kills."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def once(given):
    """The first worker that gets it dies."""
    number, folder = given
    try:
        (Path(folder) / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return 2 * number
    if number % 3 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def slow(number):
    print("noise on standard output")
    time.sleep(60)
    return number


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
