"""What a worker does: fetch each file of a small group, prove it, convert it, and write its row.

While one file is worked on, the next one is on its way. The functions here know no engine: they get plain records, and give plain records back.
"""

import math
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from segzoo.conversion.checkpoint import Checkpoint, identify
from segzoo.conversion.convert import convert
from segzoo.conversion.run import check_buffers
from segzoo.errors import ConversionError, EnvironmentFault, IntegrityError, NetworkError, SegzooError
from segzoo.evaluation.memory import resident_peak
from segzoo.evidence.check import Check
from segzoo.evidence.climb import climbed
from segzoo.evidence.ladder import Climb, Setting
from segzoo.evidence.receipt import now, versions
from segzoo.evidence.rungs.numbers import check_numbers
from segzoo.evidence.rungs.round_trip import check_round_trip
from segzoo.extras import missing
from segzoo.formats import naming
from segzoo.layouts.family import told
from segzoo.manifest.artifact import Artifact, Mirror, local
from segzoo.manifest.document import Manifest
from segzoo.scale import kinds, rows
from segzoo.scale.lanes import lane
from segzoo.scale.place import Place, place_of
from segzoo.scale.plan import Doing, Item, hash_of
from segzoo.scale.release import EPS
from segzoo.store.arrival import remote
from segzoo.store.checksums import differing
from segzoo.store.fetch import fetch
from segzoo.store.fetched import Fetched
from segzoo.store.hashing import hashed
from segzoo.store.http import Patience
from segzoo.store.policy import Policy
from segzoo.store.store import LOCK_NAME, Store, home

RETRIED = (NetworkError.exit_code, EnvironmentFault.exit_code)
"""Exit codes of failures that say nothing about the file: it is tried again."""
_NOTHING = Manifest.model_validate({"version": 1})
PAUSE, LONGEST_PAUSE = 2.0, 32.0
"""Seconds that a worker waits after its machine has failed it, twice as long each time: a full disk on one node must not use up the work list."""


@dataclass(frozen=True)
class Network:
    """What a run allows of the network, and how many lanes of how many connections its workers share."""

    lanes: int
    connections: int
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    netrc: bool = False
    deadline: float | None = None

    def policy(self) -> Policy:
        return Policy(self.offline, False, self.mirrors, self.netrc, Patience(deadline=self.deadline, connections=self.connections))


@dataclass(frozen=True)
class Bare:
    """A file of weights that no manifest describes, as the rungs of the ladder need it."""

    artifact: Artifact
    eps: float


@dataclass(frozen=True)
class Order:
    """All that a worker must know of a run. `kinds` are what the items of this order refer to."""

    place: Place
    digest: str
    doing: Doing
    network: Network
    kinds: Mapping[int, Mapping[str, Any]]
    zoos: tuple[str, ...]


def work(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Do the files of a task, a group of items, and return what became of each: its row, without what only a catalogue needs.

    A file whose row is there already, as after a worker's death, is not done again. After a file that this machine has failed, as by a full disk, the
    rest of the group is left to others.
    """
    order = _order(task)
    items = [(Item(**_tuples(one)), attempt) for one, attempt in task["items"]]
    there = [(attempt, rows.read(order.place, order.digest, item.key)) for item, attempt in items]
    done = {row["key"]: row for attempt, row in there if row is not None and row["attempts"] >= attempt}
    todo = [(item, attempt) for item, attempt in items if item.key not in done]
    with ThreadPoolExecutor(max_workers=1) as ahead:
        coming = [ahead.submit(_fetch, item, order) for item, _ in todo[:1]]
        for index, (item, attempt) in enumerate(todo):
            fetched = coming.pop()
            coming = [ahead.submit(_fetch, later, order) for later, _ in todo[index + 1 : index + 2]]
            row = _done(item, attempt, fetched, order)
            rows.write(order.place, order.digest, row)
            if row["code"] not in RETRIED:  # else the next try goes on from what has arrived
                shutil.rmtree(_own(item, order), ignore_errors=True)
            done[item.key] = row
            _pause_if_ill(row["code"] == EnvironmentFault.exit_code)
            if row["code"] == EnvironmentFault.exit_code:
                break
    return [rows.brief(done[item.key]) for item, _ in items if item.key in done]


_pauses = 0


def _pause_if_ill(ill: bool) -> None:
    """Wait where the machine of this worker has failed a file, twice as long each time; a file that it has not failed ends that."""
    global _pauses
    _pauses = _pauses + 1 if ill else 0
    if ill:
        time.sleep(min(PAUSE * 2 ** (_pauses - 1), LONGEST_PAUSE))


def _order(task: Mapping[str, Any]) -> Order:
    doing = Doing(**{**task["doing"], "modes": tuple(task["doing"]["modes"])})
    network = Network(**{**task["network"], "mirrors": tuple(task["network"]["mirrors"])})
    known = {int(number): kind for number, kind in task["kinds"].items()}
    return Order(place_of(task["run"]), task["digest"], doing, network, known, tuple(task["zoos"]))


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}


@dataclass(frozen=True, slots=True)
class Got:
    """A file at hand, and how long it took to come."""

    fetched: Fetched
    seconds: float


def _fetch(item: Item, order: Order) -> Got | None:
    """The file, verified as it arrives; a file of this machine is read where it is. None for an entry, which the ladder fetches.

    A file that is not to be kept comes into a folder of its own. There too is the pin of its hash, so that a worker after a killed one goes on
    from what has arrived. `segzoo.lock` is not in the way of thousands.
    """
    if item.entry is not None:
        return None
    started = time.perf_counter()
    kind = _kind(item, order)
    prefix = None if item.sha256 else item.sha256_prefix
    urls = tuple(Mirror(url=url) for url in item.urls)
    size = item.sizes[0] if len(item.sizes) == 1 else None
    artifact = Artifact(name=item.file, layout=kind.get("layout"), size=size, sha256=item.sha256, sha256_prefix=prefix, urls=urls)
    if not any(remote(url) for url in item.urls):
        path = local(item.urls[0], Path("/"))
        sha256, size = hashed(path)
        if wrong := Store(home(), _own(item, order) / LOCK_NAME).expectation(artifact).misfit(size, sha256):
            raise IntegrityError(f"{path}: {wrong}")
        return Got(Fetched(artifact, path, sha256, size, "sha256" if item.sha256 else "a file of this machine", None), _since(started))
    kept = Store(home(), _own(item, order) / LOCK_NAME)
    store = kept if order.doing.keep == "source" or kept.find(artifact) else replace(kept, home=_own(item, order))
    policy = order.network.policy()
    if store.find(artifact) is not None:
        return Got(fetch(artifact, store, Path("/"), policy=policy), _since(started))
    lanes = (order.place.folder or home() / "runs" / order.digest[:12]) / "lanes"
    with lane(lanes, order.network.lanes):
        return Got(fetch(artifact, store, Path("/"), policy=policy), _since(started))


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


def _own(item: Item, order: Order) -> Path:
    """The folder on this machine of what a file needs until its row is written."""
    return home() / "runs" / order.digest[:12] / hash_of(item.key)[:32]


def _kind(item: Item, order: Order) -> Mapping[str, Any]:
    """What the plan says of files of its kind; nothing where it has no kind."""
    return {} if item.kind is None else order.kinds[item.kind]


class _Broken(Exception):
    """A rung failed: nothing above it is tried."""


def _done(item: Item, attempt: int, fetched: "Future[Got | None]", order: Order) -> dict[str, Any]:
    """The row of a file, whatever becomes of it."""
    started = time.perf_counter()
    row: dict[str, Any] = {"key": item.key, "name": item.name, "file": item.file, "attempts": attempt, "checks": []}
    try:
        got = fetched.result()
        if got is None:
            _verify(item, order, row)
        else:
            _prove_and_convert(item, got, order, row)
        row |= {"status": "passed", "code": 0, "reason": None}
    except _Broken:
        last = row["checks"][-1]
        row |= {"status": "failed", "code": last["code"] or 1, "reason": f"{last['rung']}: {last['detail']}"}
    except SegzooError as error:
        row |= {"status": "failed", "code": error.exit_code, "reason": "; ".join(filter(None, [*error.short, error.hint]))}
    except ImportError as error:
        fault = missing(error)
        if fault is None:
            raise
        row |= {"status": "failed", "code": fault.exit_code, "reason": f"{fault.message}; {fault.hint}"}
    except MemoryError:
        row |= {"status": "failed", "code": EnvironmentFault.exit_code, "reason": "the memory of this machine does not suffice"}
    except OSError as error:
        row |= {"status": "failed", "code": EnvironmentFault.exit_code, "reason": f"{error.filename or ''}: {error.strerror or error}"}
    if row["status"] == "failed" and not (row["checks"] and row["checks"][-1]["status"] == "failed"):
        row["checks"].append(Check("bytes", "failed", "failed", str(row["reason"]), code=row["code"]).record())
    row |= {"seconds": _since(started), "time": now(), "versions": versions(), "machine": socket.gethostname(), "memory": resident_peak()}
    return {"device": "cpu", **row}


def _prove_and_convert(item: Item, got: Got, order: Order, row: dict[str, Any]) -> None:
    """The rungs of one file, the numbers rung of its kind if it is due, then its conversion. Raises _Broken."""
    fetched, kind = got.fetched, _kind(item, order)
    row |= {"sha256": fetched.sha256, "size": fetched.size, "received": fetched.received, "resumed": fetched.resumed, "url": fetched.url}
    row["fetch_seconds"] = got.seconds
    setting = Setting(_NOTHING, Path("/"), Store(home(), _own(item, order) / LOCK_NAME), policy=order.network.policy())
    climb = Climb(cast(Any, Bare(fetched.artifact, EPS)), setting, {})
    climb.fetched = fetched
    _climb("bytes", climb, row, lambda climb: _bytes(item, fetched))
    with naming(fetched.path, item.file):
        _climb("names", climb, row, lambda climb: _names(climb, kind))
        row |= _measured(climb.file)
        climb.entry = cast(Any, Bare(fetched.artifact, kind.get("eps") or climb.file.said.get("backbone.eps") or climb.file.found.layout.eps))
        _climb("round trip", climb, row, check_round_trip)
        row["kind"] = kinds.word(climb.file)
        if order.doing.numbers == "all":
            _climb("numbers", climb, row, check_numbers)
        elif order.doing.numbers == "kind":
            check = kinds.once(order.place, order.digest, row["kind"], lambda: climbed("numbers", check_numbers, climb))
            _note(check, row) if check else None
        if order.doing.to:
            _climb("convert", climb, row, lambda climb: _convert(item, climb, kind, order, row))


def _climb(rung: str, climb: Climb, row: dict[str, Any], act: Callable[[Climb], Check]) -> None:
    _note(climbed(rung, act, climb), row)


def _note(check: Check, row: dict[str, Any]) -> None:
    row["checks"].append(check.record())
    if check.status == "failed":
        raise _Broken


def _bytes(item: Item, fetched: Fetched) -> Check:
    """Whether size and checksums are those of the plan; hashes were compared while the file arrived."""
    if item.sizes and fetched.size not in item.sizes:
        raise IntegrityError(f"{item.file}: expected {' or '.join(f'{size:,}' for size in item.sizes)} bytes, found {fetched.size:,}")
    listed = {name: int(digits, 16) for name, digits in (("md5", item.md5), ("crc32c", item.crc32c)) if digits}
    if wrong := differing(fetched.path, listed) if listed else []:
        raise IntegrityError(f"{item.file}: another {' and '.join(wrong)} than in the bucket's listing")
    evidence = fetched.evidence + "".join(f", the listing's {name}" for name in listed)
    return Check("bytes", "passed", "sha256", f"{evidence}: {fetched.sha256}, {fetched.size:,} bytes", {"evidence": evidence})


def _names(climb: Climb, kind: Mapping[str, Any]) -> Check:
    """Whether the tensors are what the plan says of this kind of file; of a file without a kind, what they are."""
    expected = kind.get("geometry")
    file = identify(climb.fetched.path, positions=expected.get("positions") if expected else None)
    file = replace(file, geometry=told(file.geometry, expected)) if expected else file
    if expected and file.found.layout.name != kind["layout"]:
        raise ConversionError(f"layout '{file.found.layout.name}', the plan says '{kind['layout']}'")
    found = kinds.plain(file.geometry)
    if expected and (wrong := [f"{side} {found.get(side)}, expected {expected[side]}" for side in expected if found.get(side) != expected[side]]):
        raise ConversionError(f"geometry is not that of its row: {'; '.join(wrong)}")
    check_buffers(file.found, file.weights, file.sizes)
    climb.file = file
    detail = f"{file.found.layout.name}, {len(file.weights)} tensors, {file.geometry}"
    return Check("names", "passed", file.found.layout.name, detail, {"layout": file.found.layout.name, "tensors": len(file.weights)})


def _measured(file: Checkpoint) -> dict[str, Any]:
    sizes = [spec.shape for key, spec in file.weights.specs.items() if key in file.found.rules]
    params = sum(map(math.prod, sizes))
    facts = {"layout": file.found.layout.name, "family": file.family.name, "geometry": str(file.geometry), "dtype": ", ".join(file.dtypes)}
    return {**facts, "tensors": len(file.weights), "params": params, "largest": max(map(math.prod, sizes), default=0)}


def target_of(item: Item) -> str:
    """The name of a converted file in a run's folder."""
    return f"converted/{item.file.rpartition('.')[0] or item.file}.safetensors"


def _convert(item: Item, climb: Climb, kind: Mapping[str, Any], order: Order, row: dict[str, Any]) -> Check:
    """Convert a file. The conversion is read back, compared and hashed, and kept where the plan says so."""
    name, geometry = target_of(item), climb.file.geometry
    folder, kept = order.place.folder, order.doing.keep == "converted"
    written = folder / name if folder and kept else _own(item, order) / Path(name).name
    heads = geometry.heads if isinstance(getattr(geometry, "heads", None), int) else None
    to = str(order.doing.to)
    report = convert(climb.fetched.path, written, to=to, heads=heads, eps=climb.entry.eps, force=True)
    sha256, size = hashed(written)
    if kept:
        order.place.bring(written, name)
    row["converted"] = {"path": name if kept else None, "sha256": sha256, "size": size, "layout": to}
    facts = {**row["converted"], "tensors": report.written, "dropped": [drop.section for drop in report.dropped], "notes": list(report.notes)}
    return Check("convert", "passed", to, f"{to}, {report.written} tensors, {size:,} bytes, read back and compared", facts)


def _verify(item: Item, order: Order, row: dict[str, Any]) -> None:
    """Climb the whole ladder for an entry of the zoo. Its receipt is kept as `segzoo verify` keeps it."""
    from segzoo.evidence.run import ALL_IMAGES, Ended, run, setting_for
    from segzoo.zoo.names import resolve_one
    from segzoo.zoo.zoo import open_zoo

    zoo = open_zoo(order.zoos or None, order.network.offline, order.network.mirrors, order.network.deadline)
    doing, name = order.doing, str(item.entry)
    entry = resolve_one(zoo, name, zoo.manifest.entries)
    images = doing.images if doing.images != 0 else ALL_IMAGES
    data = Path(item.data) if item.data else None
    setting = setting_for(zoo, device=doing.device, images=images, modes=doing.modes, data=data, world=None, precision=doing.precision)
    for step in run(zoo, {name: entry}, setting):
        if isinstance(step, Ended):
            row["checks"] = list(step.receipt["checks"])
    first = row["checks"][0]["facts"]
    row |= {"sha256": first.get("sha256"), "size": first.get("size"), "device": setting.device}
    if broken := next((check for check in row["checks"] if check["status"] == "failed"), None):
        row["checks"] = row["checks"][: row["checks"].index(broken) + 1]
        raise _Broken
