"""Kinds of files: the same layout, sizes and dtype. The numbers rung judges rules and networks, not files, so a run climbs it once for each kind."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from filelock import Timeout

from segzoo.conversion.checkpoint import Checkpoint
from segzoo.evidence.check import Check
from segzoo.json_in import parse_json
from segzoo.scale.place import Place
from segzoo.scale.plan import hash_of
from segzoo.store.guard import file_lock


def plain(geometry: Any) -> dict[str, Any]:
    """A geometry as JSON has it: lists in place of tuples."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(geometry)))
    return found


def word(file: Checkpoint) -> str:
    """What kind of file it is, in words that are the same for all of its kind."""
    return f"{file.family.name} {file.found.layout.name}, {file.geometry}, {', '.join(file.dtypes)}"


def folder_of(digest: str) -> str:
    return f"kinds/{digest[:12]}"


def once(place: Place, digest: str, kind: str, climb: Callable[[], Check]) -> Check | None:
    """The numbers rung of a kind, if no worker has climbed it and none is about to. Where there are no locks, two may climb it at a time.

    A rung that was skipped is tried again: this worker may have the library that another one lacks.
    """
    name = f"{folder_of(digest)}/{hash_of(kind)[:32]}.json"
    if _status(place, name) not in (None, "skipped"):
        return None
    with _alone(place, name) as mine:
        if not mine or (before := _status(place, name)) not in (None, "skipped"):
            return None
        check = climb()
        if check.status == before:  # skipped once more, which is said already
            return None
        place.write(name, json.dumps({"kind": kind, "check": check.record()}, ensure_ascii=False).encode())
        return check


def _status(place: Place, name: str) -> str | None:
    data = place.read(name)
    return None if data is None else str(parse_json(data, where=f"{place.address}/{name}")["check"]["status"])


@contextmanager
def _alone(place: Place, name: str) -> Iterator[bool]:
    """Whether this process alone has this name. A killed process leaves it free."""
    if place.folder is None:
        yield True
        return
    path = (place.folder / name).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = file_lock(path)
    if lock is None:
        yield True
        return
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def read_all(place: Place, digest: str) -> dict[str, Mapping[str, Any]]:
    """The check of each kind that was climbed."""
    found = {}
    for name, data in place.contents(folder_of(digest)):
        if name.endswith(".json"):
            record = parse_json(data, where=f"{place.address}/{name}")
            found[str(record["kind"])] = record["check"]
    return dict(sorted(found.items()))
