"""A plan of work on many files, frozen: which files, where they are, what they must be, and what to do with each.

`plan.json` says what is done, `work.jsonl` has a line a file. The digest covers both, so rows of another plan are never taken for this one's.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from segzoo.errors import IntegrityError, NotFoundError, UsageError
from segzoo.json_in import parse_json
from segzoo.scale.place import Place
from segzoo.vocabulary import KEEP, NUMBERS

SCHEMA = "segzoo-plan/1"
_LARGEST = 1 << 30  # bytes of a work list; that of a million files has some 700 MB
_HINT = "make it again with segzoo augreg plan or segzoo batch plan, in a new folder"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the work. `key` tells it from all others, `name` is what a catalogue groups by, `file` its published name.

    `sizes` are the bytes that it may have, none where that is not known; `md5` and `crc32c` are hex digits of a bucket's listing. `kind` is the
    place in the plan's list of kinds of what its tensors must be. `entry` is the zoo's entry that is verified, `data` the folder of its data set.
    `facts` are what the index says of it.
    """

    key: str
    name: str
    file: str
    urls: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    sha256: str | None = None
    sha256_prefix: str | None = None
    md5: str | None = None
    crc32c: str | None = None
    kind: int | None = None
    entry: str | None = None
    data: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The most bytes that it is known to have; 0 where nothing is known."""
        return max(self.sizes, default=0)


@dataclass(frozen=True, slots=True)
class Doing:
    """What is done with each file. `to` is a layout to convert to, `keep` one of KEEP, `numbers` one of NUMBERS.

    `verify` climbs the whole ladder of zoo entries, by `device`, `images`, `modes` and `precision` as `segzoo verify` does.
    """

    to: str | None = None
    keep: str = KEEP[0]
    numbers: str = NUMBERS[0]
    verify: bool = False
    device: str | None = None
    images: int | None = None
    modes: tuple[str, ...] = ("ss",)
    precision: str = "fp32"


@dataclass(frozen=True)
class Plan:
    """A plan as it stands in a run's folder. `origin` says where the list of files is from, `kinds` what files of each kind must be,
    `zoos` are the manifests in use, `versions` those of the programs that made the plan.
    """

    items: Sequence[Item]
    doing: Doing
    origin: Mapping[str, Any]
    kinds: Sequence[Mapping[str, Any]]
    zoos: Sequence[str]
    versions: Mapping[str, str | None]
    digest: str = ""

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.items)

    def shard(self, number: int, of: int) -> "list[Item]":
        """The items of one of several shards, counted from 1. Where an item goes depends on its key alone."""
        return [item for item in self.items if int(hash_of(item.key)[:8], 16) % of == number - 1]


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def freeze(plan: Plan, place: Place) -> tuple[Plan, bool]:
    """Write a plan, unless the same one is there; returns it with its digest, and whether it was there.

    Raises UsageError where the place has another plan, or two items have one key or would be written to one file.
    """
    _refuse_twice(plan.items)
    work = "".join(json.dumps(_plain(item), ensure_ascii=False) + "\n" for item in plan.items).encode()
    head = {name: _json(getattr(plan, name)) for name in ("origin", "doing", "kinds", "zoos", "versions")}
    head |= {"schema": SCHEMA, "files": len(plan.items), "bytes": plan.bytes, "work": hashlib.sha256(work).hexdigest()}
    digest = _digest(head)
    if (there := place.read("plan.json")) is not None:
        if parse_json(there, where=f"{place.address}/plan.json").get("digest") != digest:
            raise UsageError(f"{place.address}: holds another plan", hint="name a new folder; a plan that is made again must be the same")
    else:
        place.write("work.jsonl", work)
        place.write("plan.json", (json.dumps({"digest": digest, **head}, indent=2, ensure_ascii=False) + "\n").encode())
    return Plan(plan.items, plan.doing, plan.origin, plan.kinds, plan.zoos, plan.versions, digest), there is not None


def thaw(place: Place) -> Plan:
    """The plan of a run's folder. Raises NotFoundError where there is none, IntegrityError where it was changed."""
    head, work = place.read("plan.json"), place.read("work.jsonl")
    if head is None or work is None:
        raise NotFoundError(f"{place.address}: no plan of a run", hint="segzoo augreg plan, or segzoo batch plan, makes one")
    where = f"{place.address}/plan.json"
    document = parse_json(head, where=where, hint=_HINT)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise IntegrityError(f"{where}: not a plan of this version of segzoo", _HINT)
    given = document.pop("digest", None)
    if given != _digest(document) or document["work"] != hashlib.sha256(work).hexdigest():
        raise IntegrityError(f"{where}: the plan was changed after it was made: its digest differs", _HINT)
    try:
        items = [Item(**_tuples(json.loads(line))) for line in work.splitlines()]
        doing = Doing(**_tuples(document["doing"]))
        return Plan(items, doing, document["origin"], document["kinds"], document["zoos"], document["versions"], given)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: not a plan that segzoo wrote: {error}", _HINT) from error


def _digest(head: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(head, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


_DEFAULTS = {one.name: one.default for one in fields(Item)}


def _plain(item: Item) -> dict[str, Any]:
    """An item as JSON, without what is not known."""
    said = {name: getattr(item, name) for name in _DEFAULTS}
    return {name: value for name, value in said.items() if (value and value != _DEFAULTS[name]) or (name == "kind" and value is not None)}


def _json(value: Any) -> Any:
    return json.loads(json.dumps(asdict(value) if isinstance(value, Doing) else value))


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}


def _refuse_twice(items: Iterable[Item]) -> None:
    keys: set[str] = set()
    files: dict[str, str] = {}
    for item in items:
        if item.key in keys:
            raise UsageError(f"{item.key}: named twice in one plan")
        keys.add(item.key)
        stem = item.file.rpartition(".")[0] or item.file
        if item.entry is None and files.setdefault(stem, item.key) != item.key:
            raise UsageError(f"{item.key} and {files[stem]}: both would be written to {stem}.*", hint="plan them apart")
