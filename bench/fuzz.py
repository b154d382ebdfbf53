"""Fuzz the readers of strangers' bytes for as long as one likes, and say how many inputs a second each takes.

    python bench/fuzz.py [--seconds 60] [--record] [READER ...]

A fault ends the run of its reader with the smallest input that hypothesis could find; it is kept beside as `fuzz-READER.bin`.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / "tests"), str(Path(__file__).parent.parent / "tests" / "fuzz")]

import record  # noqa: E402 - with the others
from harness import Target, attempt, changed, targets  # noqa: E402 - its folder is put on the path first
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

BATCH = 500
CLAIM = "Readers of strangers' bytes on changed files: inputs, how many of them were read, inputs a second, and the slowest. None ended in a fault."


def fuzz(target: Target, seconds: float) -> dict[str, float | str]:
    """Inputs, how many were read, inputs a second and the slowest; or the fault."""
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
            return {"inputs": tried, "fault": f"{type(error).__name__}: {str(error)[:80]} (fuzz-{target.reader}.bin)"}
    return {"inputs": tried, "read": read, "inputs/s": tried / (time.perf_counter() - begun), "worst s": slowest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long each reader is tried")
    parser.add_argument("readers", nargs="*", help="these only")
    record.add_option(parser)
    asked = parser.parse_args()
    print(f"{'reader':<24}{'inputs':>9}{'read':>9}{'inputs/s':>10}{'worst s':>9}")
    figures = {}
    for target in targets():
        if not asked.readers or target.reader in asked.readers:
            found = figures[target.reader] = fuzz(target, asked.seconds)
            told = f"  FAULT {found['fault']}" if "fault" in found else f"{found['read']:>9}{found['inputs/s']:>10.0f}{found['worst s']:>9.2f}"
            print(f"{target.reader:<24}{found['inputs']:>9}{told}", flush=True)
    faults = any("fault" in found for found in figures.values())
    if asked.record and not faults:
        record.keep(CLAIM, figures, {})
    return faults


if __name__ == "__main__":
    sys.exit(main())
