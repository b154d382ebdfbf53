"""Fuzz the readers of strangers' bytes for as long as one likes, and say how many inputs a second each takes.

    python bench/fuzz.py [--seconds 60] [READER ...]

A fault ends the run of its reader with the smallest input that hypothesis could find; it is kept beside as `fuzz-READER.bin`.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / "tests"), str(Path(__file__).parent.parent / "tests" / "fuzz")]

from harness import Target, attempt, changed, targets  # noqa: E402 - its folder is put on the path first
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

BATCH = 500


def fuzz(target: Target, seconds: float) -> str:
    """A line of the table: inputs, how many were read, inputs a second, and the fault if there was one."""
    good, tried, read, slowest = target.seeds(), 0, 0, 0.0
    begun = time.perf_counter()
    last = b""
    while time.perf_counter() - begun < seconds:

        @seed(random.getrandbits(64))
        @settings(max_examples=BATCH, deadline=None, database=None, phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
        @given(data=st.data())
        def batch(data: st.DataObject) -> None:
            nonlocal tried, read, slowest, last
            last = data.draw(changed(good))
            before = time.perf_counter()
            read += attempt(target, last)
            tried, slowest = tried + 1, max(slowest, time.perf_counter() - before)

        try:
            batch()
        except Exception as error:  # any exception is what a fuzz run looks for: it is shown, with its input
            Path(f"fuzz-{target.reader}.bin").write_bytes(last)
            return f"{target.reader:<24}{tried:>9}  FAULT {type(error).__name__}: {str(error)[:80]} (fuzz-{target.reader}.bin)"
    rate = tried / (time.perf_counter() - begun)
    return f"{target.reader:<24}{tried:>9}{read:>9}{rate:>10.0f}{slowest:>9.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long each reader is tried")
    parser.add_argument("readers", nargs="*", help="these only")
    asked = parser.parse_args()
    print(f"{'reader':<24}{'inputs':>9}{'read':>9}{'inputs/s':>10}{'worst s':>9}")
    lines = []
    for target in targets():
        if not asked.readers or target.reader in asked.readers:
            lines.append(fuzz(target, asked.seconds))
            print(lines[-1], flush=True)
    return any("FAULT" in line for line in lines)


if __name__ == "__main__":
    sys.exit(main())
