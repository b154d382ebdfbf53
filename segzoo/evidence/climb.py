"""The ladder of evidence for one zoo entry: bytes, names, round trip, numbers, mIoU.

Each rung rules out one kind of fault and gives one `Check`. Above a broken rung nothing is climbed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from segzoo.errors import LostProcess, SegzooError, Skip
from segzoo.evidence.check import FAILED, LACKS, NOT_TRIED, Check
from segzoo.evidence.ladder import Climb, Setting
from segzoo.evidence.rungs.bytes import check_bytes
from segzoo.evidence.rungs.miou import check_miou
from segzoo.evidence.rungs.names import check_names
from segzoo.evidence.rungs.numbers import check_numbers
from segzoo.evidence.rungs.round_trip import check_round_trip
from segzoo.extras import missing
from segzoo.manifest.artifact import Artifact
from segzoo.manifest.entries import Entry, Model
from segzoo.text import legible
from segzoo.vocabulary import RUNGS

Previous = Mapping[str, Mapping[str, Any]]
CHECKS = (check_bytes, check_names, check_round_trip, check_numbers, check_miou)


def verify(entry: Entry, setting: Setting, previous: Previous | None = None) -> Iterator[Check]:
    """Climb the ladder for one entry: yields a check for each rung, in order.

    `previous` are the checks of earlier runs by rung: a rung that passed with the same basis is not climbed again.
    Of several processes the first climbs every rung, the others only those that an evaluation needs. Raises LostProcess
    where a rung fails in another process.
    """
    climb = Climb(entry, setting, previous or {})
    broken: str | None = None
    for rung, act in zip(RUNGS, CHECKS, strict=True):
        if setting.world and setting.world.rank and rung in ("round trip", "numbers"):
            continue
        if rung == "mIoU" and setting.world and setting.world.any(broken is not None) and not broken:
            if setting.world.rank == 0:  # its receipt would say that every rung passed
                raise LostProcess("a rung failed in another process, which says why", hint="do all see the same files?")
            broken = "a rung of another process"
        if broken:
            yield Check(rung, "skipped", NOT_TRIED, f"not tried, since {broken} failed")
            continue
        check = climbed(rung, act, climb)
        broken = rung if check.status == "failed" else None
        yield check


def climbed(rung: str, act: Callable[[Climb], Check], climb: Climb) -> Check:
    """The check of one rung, whether it passes, fails or cannot be climbed. Raises LostProcess."""
    started = perf_counter()
    try:
        check = act(climb)
    except Skip as skip:
        check = Check(rung, "skipped", skip.short, skip.detail, skip.facts)
    except LostProcess:
        raise
    except ImportError as error:
        if (fault := missing(error)) is None:
            raise
        check = Check(rung, "skipped", LACKS, f"{fault.message}: {fault.hint}")
    except SegzooError as error:
        joint = "\nhint: " if len(error.short) > 1 else "; "  # a list has a line for each
        said = joint.join(filter(None, ["\n".join(map(legible, error.short)), error.hint and legible(error.hint)]))
        check = Check(rung, "failed", FAILED.get(error.exit_code, "failed"), said, code=error.exit_code)
    return check if check.time else replace(check, seconds=round(perf_counter() - started, 3))


def artifacts_of(entry: Entry, equivalents: bool = False) -> list[Artifact]:
    """The files that verifying an entry needs, data set apart. With `equivalents` also those from other sources."""
    if not isinstance(entry, Model):
        return [entry.artifact]
    counts = [entry.counts.file] if entry.counts else []
    return [entry.artifact, *counts, *(entry.elsewhere if equivalents else ())]
