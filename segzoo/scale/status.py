"""Where a run stands, as its plan and its rows say; no engine is asked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from segzoo.scale import kinds, rows
from segzoo.scale.place import Place
from segzoo.scale.plan import Plan
from segzoo.scale.run import running


@dataclass(frozen=True)
class Status:
    """Files and bytes planned and done, the failures by exit code with an example each, the numbers rung of each kind, and when the last row was
    written. `running` names the runs that are on the folder now.
    """

    files: int
    bytes: int
    passed: int
    failed: int
    done_bytes: int
    failures: Mapping[int, tuple[int, str]]
    kinds: Mapping[str, str]
    last: str | None
    files_an_hour: float | None
    running: tuple[str, ...]

    @property
    def missing(self) -> int:
        return self.files - self.passed - self.failed

    @property
    def hours_left(self) -> float | None:
        return self.missing / self.files_an_hour if self.files_an_hour else None


def status(plan: Plan, place: Place) -> Status:
    """Raises IntegrityError for rows that are not this plan's."""
    there = rows.read_all(place, plan)
    failed = {key: row for key, row in there.items() if row["status"] == "failed"}
    counts = Counter(int(row["code"]) for row in failed.values())
    examples = {int(row["code"]): f"{key}: {row['reason']}" for key, row in reversed(failed.items())}
    done = sum(row.get("size") or 0 for row in there.values())
    times = sorted(str(row["time"]) for row in there.values())
    checks = {kind: str(check["status"]) for kind, check in kinds.read_all(place, plan.digest).items()}
    return Status(
        len(plan.items),
        plan.bytes,
        len(there) - len(failed),
        len(failed),
        done,
        {code: (count, examples[code]) for code, count in sorted(counts.items())},
        checks,
        times[-1] if times else None,
        _rate(times),
        tuple(running(place)),
    )


def _rate(times: list[str]) -> float | None:
    """Files an hour, by the last thousand rows; None where they tell nothing."""
    last = times[-1000:]
    if len(last) < 2:
        return None
    seconds = (datetime.fromisoformat(last[-1]) - datetime.fromisoformat(last[0])).total_seconds()
    return round((len(last) - 1) / seconds * 3600, 1) if seconds > 0 else None


def plain(found: Status) -> dict[str, Any]:
    """A status as JSON."""
    failures = [{"code": code, "files": count, "example": example} for code, (count, example) in found.failures.items()]
    facts = {name: getattr(found, name) for name in ("files", "bytes", "passed", "failed", "missing", "done_bytes", "last", "files_an_hour")}
    return {**facts, "hours_left": found.hours_left, "failures": failures, "kinds": dict(found.kinds), "running": list(found.running)}
