"""What has become of each file of a plan: a row of its own, written whole by the worker that did it. Done is a row, not what an engine says."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from segzoo.errors import IntegrityError
from segzoo.json_in import parse_json
from segzoo.scale.place import Place
from segzoo.scale.plan import Plan, hash_of

SCHEMA = "segzoo-row/1"
Row = Mapping[str, Any]


def folder_of(digest: str) -> str:
    return f"rows/{digest[:12]}"


def name_of(digest: str, key: str) -> str:
    """The file of a row: by the plan's digest and the key, so that a row of another plan stands elsewhere."""
    place = hash_of(key)
    return f"{folder_of(digest)}/{place[:2]}/{place[2:34]}.json"


def write(place: Place, digest: str, row: Row) -> None:
    """Write the row of a file, in place of an earlier one."""
    text = json.dumps({"schema": SCHEMA, "plan": digest, **row}, ensure_ascii=False, allow_nan=False)
    place.write(name_of(digest, row["key"]), text.encode())


def read(place: Place, digest: str, key: str) -> Row | None:
    """The row of a file; None where there is none. Raises IntegrityError for one that segzoo did not write."""
    name = name_of(digest, key)
    data = place.read(name)
    return None if data is None else _checked(data, place, name, digest)


def each(place: Place, plan: Plan) -> Iterator[Row]:
    """All rows of a plan, in any order, one at a time. Raises IntegrityError for a row of a file that is not in the plan."""
    known = {item.key for item in plan.items}
    for name, data in place.contents(folder_of(plan.digest)):
        if name.endswith(".json"):
            row = _checked(data, place, name, plan.digest)
            if row["key"] not in known:
                raise IntegrityError(f"{place.address}/{name}: a row of a file that is not in the plan", _HINT)
            yield row


def brief(row: Row) -> dict[str, Any]:
    """What a driver needs of a row; a catalogue needs more."""
    return {name: row.get(name) for name in ("key", "status", "code", "reason", "size", "received", "seconds", "attempts", "kind", "time")}


def read_all(place: Place, plan: Plan) -> dict[str, Row]:
    """All rows of a plan in brief, by key, in the plan's order."""
    found = {str(row["key"]): brief(row) for row in each(place, plan)}
    return {item.key: found[item.key] for item in plan.items if item.key in found}


_HINT = "remove it, and run again"


def _checked(data: bytes, place: Place, name: str, digest: str) -> Row:
    where = f"{place.address}/{name}"
    row = parse_json(data, where=where, hint=_HINT)
    if not isinstance(row, dict) or row.get("schema") != SCHEMA or row.get("plan") != digest or not isinstance(row.get("key"), str):
        raise IntegrityError(f"{where}: not a row of this plan", _HINT)
    if name_of(digest, row["key"]) != name:
        raise IntegrityError(f"{where}: a row of another file", _HINT)
    return row
