"""A run: what a plan has and rows have not is given to workers, until rows equal plan. The same command again goes on from the rows that are there.

Work is done at least once; a file has one row. A failure is a row too. What says nothing about the file (the network, a disk, a worker that died)
is tried again, a limited number of times; a file that always kills its worker fails alone.
"""

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import Timeout

from segzoo.errors import EnvironmentFault, SegzooError, Stalled, UsageError, of_code, one_of
from segzoo.evaluation.device import best_device
from segzoo.evidence.check import Check
from segzoo.evidence.receipt import now, versions
from segzoo.scale import kinds, rows
from segzoo.scale.engine import ENGINES, Died, Resources, Task, submit
from segzoo.scale.lanes import MOST, Lanes
from segzoo.scale.place import Place
from segzoo.scale.plan import Item, Plan
from segzoo.scale.task import RETRIED, Network, work
from segzoo.store.guard import file_lock
from segzoo.store.store import home

_GROUP = 8  # files of a task at most: the next one arrives while one is worked on
_GROUP_BYTES = 1 << 29
_BASE_MEMORY = 600 << 20  # bytes of a worker with numpy and torch loaded
_ILL = 20  # files in a row, or more where there are more workers, that their machines failed: all of them are ill, and so would the rest fail


@dataclass(frozen=True)
class Wishes:
    """How a run is done. `on` names the engine, `shard` is (K, N), `tries` how often a file is tried, `stall` the minutes without a worker after
    which a run gives up. `again` does also those files that failed for good.
    """

    on: str = "local"
    shard: tuple[int, int] | None = None
    tries: int = 3
    stall: float = 30
    again: bool = False
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    netrc: bool = False
    deadline: float | None = None


@dataclass
class State:
    """Where a run stands. `files` and `bytes` are those of its shard; `done` counts rows, `failed` those of them that are failures for good;
    `here` and `here_bytes` were done before this call, `moved` are the bytes that came over the network.
    """

    files: int
    bytes: int
    done: int = 0
    failed: int = 0
    done_bytes: int = 0
    moved: int = 0
    workers: int = 0
    deaths: int = 0
    here: int = 0
    here_bytes: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float | None:
        """An estimate by the bytes that this call has done, or by its files where sizes are not known; None as long as it has done none."""
        spent = time.monotonic() - self.started
        fresh, left = self.done_bytes - self.here_bytes, self.bytes - self.done_bytes
        if fresh <= 0 or left <= 0:
            fresh, left = self.done - self.here, self.files - self.done
        return spent / fresh * left if fresh and left else None


@dataclass(frozen=True, slots=True)
class Ended:
    """A file is done: what its row says. `final` is False where it will be tried again."""

    row: Mapping[str, Any]
    final: bool


class _Work:
    """What is left to do, in the groups that are given to workers."""

    def __init__(self, plan: Plan, place: Place, wishes: Wishes, left: Sequence[tuple[Item, int]], workers: int):
        self.plan, self.place, self.workers = plan, place, workers
        self.waiting: deque[tuple[Item, int, bool]] = deque((item, attempt, False) for item, attempt in left)
        self.out: dict[str, list[tuple[Item, int]]] = {}
        may_grow = place.folder is None and not wishes.on.startswith("local")  # a cluster does, and no lock would hold new workers back
        lanes = Lanes.of(MOST if may_grow else workers * (wishes.shard[1] if wishes.shard else 1))
        network = Network(lanes.number, lanes.connections, wishes.offline, wishes.mirrors, wishes.netrc, wishes.deadline)
        self.common = {"run": place.address, "digest": plan.digest, "doing": asdict(plan.doing), "network": asdict(network), "zoos": list(plan.zoos)}

    def take(self) -> Task | None:
        """A group of files, or one that stands alone; None where nothing waits."""
        if not self.waiting:
            return None
        most = 1 if self.waiting[0][2] or self.plan.doing.verify else max(1, min(_GROUP, len(self.waiting) // (4 * self.workers)))
        group: list[tuple[Item, int]] = []
        size = 0
        while self.waiting and len(group) < most and (size < _GROUP_BYTES or len(group) < 2) and not (group and self.waiting[0][2]):
            item, attempt, _ = self.waiting.popleft()
            group.append((item, attempt))
            size += item.size
        needed = {item.kind for item, _ in group if item.kind is not None}
        items = [[_record(item), attempt] for item, attempt in group]
        self.out[group[0][0].key] = group
        return group[0][0].key, {**self.common, "kinds": {str(one): self.plan.kinds[one] for one in needed}, "items": items}

    def again(self, item: Item, attempt: int) -> None:
        """Try a file again, alone and after all others."""
        self.waiting.append((item, attempt, True))


def _record(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Item.__slots__ if name != "facts"}


def resources_of(plan: Plan) -> Resources:
    """What a task of a plan needs: the memory of Python with its libraries and of the largest tensors, and the GPU that is to verify."""
    largest = max((item.size for item in plan.items), default=0)
    gpus = int(plan.doing.verify and (plan.doing.device or best_device()).startswith("cuda"))
    return Resources(None, _BASE_MEMORY + 2 * largest // 4, gpus)


def left_of(plan: Plan, there: Mapping[str, rows.Row], wishes: Wishes) -> tuple[list[Item], list[tuple[Item, int]]]:
    """The files of this shard, and those to do with the number of their try: all without a row, and failures that are worth another try."""
    if wishes.shard and not 1 <= wishes.shard[0] <= wishes.shard[1] <= 100_000:
        raise UsageError(f"shard {wishes.shard[0]}/{wishes.shard[1]}: expected K/N with K from 1 to N")
    items = plan.shard(*wishes.shard) if wishes.shard else list(plan.items)
    left = []
    for item in items:
        row = there.get(item.key)
        if row is None:
            left.append((item, 1))
        elif row["status"] == "failed" and (wishes.again or (row["code"] in RETRIED and row["attempts"] < wishes.tries)):
            left.append((item, row["attempts"] + 1))
    return items, left


def run(plan: Plan, place: Place, wishes: Wishes, needs: Resources, state: State, left: Sequence[tuple[Item, int]]) -> Iterator[Ended | None]:
    """Do what is left, and yield each file as it ends; None about once a second.

    Raises Stalled where there is neither a worker nor a new row for too long, EnvironmentFault where machines fail every file, UsageError.
    """
    needs = replace(needs, workers=MOST if place.folder is None else None)
    workers = _number(wishes.on, needs)
    if needs.workers and workers > needs.workers:
        raise UsageError(
            f"{workers} workers on a run at {place.address}: {MOST} at most", hint="a run in a shared folder may have more: they share lanes"
        )
    todo = _Work(plan, place, wishes, left, workers)
    alive, ill = time.monotonic(), 0
    for step in submit(work, todo.take, wishes.on, needs):
        if isinstance(step, int):
            state.workers = step
            alive = time.monotonic() if step else alive
            if time.monotonic() - alive > wishes.stall * 60:
                raise Stalled(f"no worker and no new row for {wishes.stall:g} minutes", hint=_room_for(needs))
            yield None
            continue
        key, outcome = step
        alive = time.monotonic()
        group = todo.out.pop(key)
        ended = _after_death(todo, group, outcome, wishes) if isinstance(outcome, Died) else outcome
        state.deaths += isinstance(outcome, Died)
        known = {item.key: (item, attempt) for item, attempt in group}
        for row in ended:
            item, _ = known.pop(row["key"])
            final = row["status"] == "passed" or row["code"] not in RETRIED or row["attempts"] >= wishes.tries
            if not final:
                todo.again(item, row["attempts"] + 1)
            else:
                state.done += 1
                state.failed += row["status"] == "failed"
                state.done_bytes += row["size"] or item.size
            state.moved += row["received"] or 0
            ill = ill + 1 if row["code"] == EnvironmentFault.exit_code else 0
            yield Ended(row, final)
        if not isinstance(outcome, Died):
            for item, attempt in known.values():  # its worker left the group when its machine failed
                todo.again(item, attempt)
        if ill >= max(_ILL, 3 * workers):
            raise EnvironmentFault(f"{ill} files in a row failed by their machines, the last one: {ended[-1]['reason']}", hint=_GOES_ON)


_GOES_ON = "the same command goes on from the rows that are there"


def _room_for(needs: Resources) -> str:
    """What a node must have room for, for those who have a cluster without one."""
    parts = ["one core", f"{needs.memory / 1e9:.1f} GB of memory" if needs.memory else "", "one GPU" if needs.gpus else ""]
    return f"a task needs {', '.join(filter(None, parts))} on one machine; {_GOES_ON}"


def _after_death(todo: _Work, group: Sequence[tuple[Item, int]], death: Died, wishes: Wishes) -> list[dict[str, Any]]:
    """What a dead worker has left: rows that it wrote count, and the others are done again, each alone. One that was alone may be what kills."""
    told = []
    for item, attempt in group:
        row = rows.read(todo.place, todo.plan.digest, item.key)
        if row is not None and row["attempts"] >= attempt:
            told.append(rows.brief(row))
        elif len(group) > 1:
            todo.again(item, attempt)
        elif attempt < wishes.tries:
            todo.again(item, attempt + 1)
        else:
            told.append(rows.brief(_killer(todo, item, attempt, death)))
    return told


def _killer(todo: _Work, item: Item, attempt: int, death: Died) -> dict[str, Any]:
    """The row of a file whose worker died each time."""
    code = EnvironmentFault.exit_code
    reason = f"its worker ended {attempt} times, the last time by {death.reason}"
    check = Check("bytes", "failed", "failed", reason, code=code).record()
    row = {"key": item.key, "name": item.name, "file": item.file, "attempts": attempt, "checks": [check], "status": "failed", "code": code}
    row |= {"reason": reason, "seconds": 0.0, "time": now(), "versions": versions(), "machine": None, "memory": None, "device": None}
    rows.write(todo.place, todo.plan.digest, row)
    return row


def _number(on: str, needs: Resources) -> int:
    """How many workers an engine has for a run."""
    name, _, address = on.partition(":")
    one_of("engine", name, ENGINES)
    number: int = import_module(ENGINES[name]).workers_of(address, needs)
    return number


@contextlib.contextmanager
def alone(place: Place, shard: tuple[int, int] | None) -> Iterator[None]:
    """One run at a time on a folder, or one on each of its shards. Without locks, as on an object store, nothing keeps two runs apart: they do
    some files twice, and their rows are the same.

    Raises UsageError where another run is on the same files.
    """
    if place.folder is None:
        yield
        return
    name = f"shard-{shard[0]}-of-{shard[1]}" if shard else "whole"
    folder = place.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = file_lock(folder / f"{name}.lock")
    try:
        if lock is not None:
            lock.acquire(timeout=0)
        for other in folder.glob("*.lock"):
            if other.stem != name and "whole" in (name, other.stem) and _held(other):
                raise Timeout(str(other))
    except Timeout as error:
        if lock is not None:
            lock.release()
        raise UsageError(f"{place.address}: another run is on it, {Path(error.lock_file).stem}", hint="wait for it, or end it") from error
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _held(path: Path) -> bool:
    lock = file_lock(path)
    if lock is None:
        return False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def running(place: Place) -> list[str]:
    """The runs that are on a folder of this machine, by the names of their locks."""
    folder = place.folder / "locks" if place.folder else None
    return sorted(path.stem for path in folder.glob("*.lock") if _held(path)) if folder else []


def tidy(plan: Plan, place: Place, whole: bool) -> None:
    """Remove what killed workers have not finished; of a run that is at its end, also what waited on this machine for another try."""
    for folder in (rows.folder_of(plan.digest), kinds.folder_of(plan.digest), "converted"):
        place.sweep(folder)
    if whole:
        shutil.rmtree(home() / "runs" / plan.digest[:12], ignore_errors=True)


def verdict(plan: Plan, place: Place, items: Sequence[Item], there: Mapping[str, rows.Row]) -> list[SegzooError]:
    """What is wrong with a run at its end: failed files, kinds whose numbers are off, files without a row."""
    errors: list[SegzooError] = []
    for item in items:
        row = there.get(item.key)
        if row is None:
            errors.append(EnvironmentFault(f"{item.key}: no row", hint="run the same command again"))
        elif row["status"] == "failed":
            errors.append(of_code(row["code"])(f"{item.key}: {row['reason']}"))
    for kind, check in kinds.read_all(place, plan.digest).items():
        if check["status"] == "failed":
            errors.append(of_code(check["code"])(f"all files of the kind {kind}: numbers: {check['detail']}"))
    return errors
