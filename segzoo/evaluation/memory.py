"""The memory of this process. No torch."""

import sys
from contextlib import suppress
from pathlib import Path


def resident_peak() -> int | None:
    """The most bytes that were resident since the start of the process; None where the system does not say."""
    with suppress(OSError, StopIteration):  # Linux alone tells it of the program; elsewhere the process that started this one counts too
        peak = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
