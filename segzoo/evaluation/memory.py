"""The memory of this process. No torch."""

import sys


def resident_peak() -> int | None:
    """The most bytes that were resident since the start of the process; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
