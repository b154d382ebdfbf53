"""How a plan is made: of rows of the index, of entries of the zoo, of files."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segzoo.errors import NotFoundError, UsageError
from segzoo.evidence.receipt import versions
from segzoo.layouts import NAMES
from segzoo.manifest.entries import Entry, Model, geometry_of
from segzoo.manifest.merge import PACKAGED
from segzoo.regular import no_file
from segzoo.scale.index import digest_of_index
from segzoo.scale.listing import Listed
from segzoo.scale.plan import Doing, Item, Plan
from segzoo.scale.query import Query
from segzoo.scale.release import EPS, FAMILIES, Family, certain, expected
from segzoo.vocabulary import WEIGHTS
from segzoo.zoo.zoo import Zoo

_INDEXED = ("kind", "ds", "adapt_ds", "adapt_resolution", "final_val", "final_test", "adapt_final_val", "adapt_final_test")
_HIDDEN = "pre_logits"  # the layer that models pretrained on i1k may have


def of_rows(
    rows: Sequence[Mapping[str, Any]],
    asked: Query,
    index: Path,
    files: str,
    doing: Doing,
    zoos: Sequence[str],
    listing: Mapping[str, Listed] | None = None,
    families: Mapping[str, Family] = FAMILIES,
) -> Plan:
    """The plan for rows of the index. `files` is the address of the folder that the files lie in; `listing` what their bucket says of them.

    Raises UsageError for no rows, and NotFoundError for a file that the listing lacks.
    """
    if not rows:
        raise UsageError("no file to plan: the condition is true for none")
    kinds: dict[tuple[Any, ...], int] = {}
    described: list[dict[str, Any]] = []
    items = []
    for row in rows:
        must, number = expected(row, families), None
        if must:
            place = (row["name"], row["adapt_ds"] or row["ds"], row["adapt_resolution"])
            if (number := kinds.setdefault(place, len(kinds))) == len(described):
                described.append({"layout": "augreg", "geometry": _lists(must.geometry), "eps": EPS})
        name = f"{row['file']}.npz"
        if listing is not None and name not in listing:
            raise NotFoundError(f"{name}: the listing does not have it", hint="is it a listing of the whole folder, and of now?")
        listed = listing[name] if listing else None
        facts = {column: row[column] for column in _INDEXED} | {"index_params": row["params"], "index_images_per_sec": row["infer_samples_per_sec"]}
        facts |= {"expected_params": must.params, "listed_size": listed.size if listed else None} if must else {}
        sizes = () if must is None else (must.size,) if certain(row) else (must.size, must.size + _hidden(must.geometry["width"]))
        sums = (listed.md5, listed.crc32c) if listed else (None, None)
        urls = (f"{files.rstrip('/')}/{name}",)
        items.append(
            Item(row["file"], row["name"], name, urls, sizes, None, None, *sums, number, facts={k: v for k, v in facts.items() if v is not None})
        )
    origin = {"what": "index", "index": digest_of_index(index), "query": {**asdict(asked), "kinds": list(asked.kinds)}, "files": files}
    return Plan(items, doing, origin, described, list(zoos), versions())


def _hidden(width: int) -> int:
    """The bytes that a hidden layer adds to a file."""
    names = (f"{_HIDDEN}/kernel", f"{_HIDDEN}/bias")
    return 4 * (width * width + width) + sum(30 + 46 + 2 * (len(name) + 4) + 128 for name in names)


def of_names(
    zoo: Zoo, names: Iterable[str], among: Mapping[str, Entry], files: Iterable[Path], doing: Doing, data: Sequence[Path], zoos: Sequence[str]
) -> Plan:
    """The plan for entries of the zoo and for files of this machine. With `doing.verify` each model is verified, on each folder of `data`.

    Raises UsageError, NotFoundError.
    """
    chosen = {name: among[name] for name in names}
    kinds: list[dict[str, Any]] = []
    items: list[Item] = []
    for name, entry in chosen.items():
        if doing.verify:
            folders: Sequence[Path | None] = data if data and isinstance(entry, Model) else (None,)
            items += [_verified(name, entry, folder) for folder in folders]
        else:
            items.append(_of_entry(name, entry, zoo, kinds))
    for path in files:
        if doing.verify:
            raise UsageError(f"{path}: --verify is for entries of the zoo", hint="segzoo manifest add takes a file into a zoo of your own")
        items.append(_of_file(path))
    if not items:
        raise UsageError("no file to plan", hint="name entries of the zoo, or files")
    return Plan(items, doing, {"what": "names", "zoo": _digests(zoo)}, kinds, list(zoos), versions())


def _digests(zoo: Zoo) -> dict[str, str]:
    """What the manifests in use were when the plan was made."""
    return {part.given: hashlib.sha256(part.path.read_bytes()).hexdigest() for part in zoo.parts}


def _verified(name: str, entry: Entry, folder: Path | None) -> Item:
    key = name if folder is None else f"{name} on {folder}"
    data = str(folder.absolute()) if folder else None
    sizes = (entry.artifact.joint_size,) if entry.artifact.joint_size else ()
    return Item(key, name, entry.artifact.name, sizes=sizes, sha256=entry.artifact.sha256, entry=name, data=data)


def _of_entry(name: str, entry: Entry, zoo: Zoo, kinds: list[dict[str, Any]]) -> Item:
    """The item of an entry's file, which must be what the manifest says. Its hash is the manifest's, or one that is pinned."""
    if entry.artifact.shards:
        raise UsageError(f"{name}: its weights are in shards, which a run does not take apart", hint="segzoo convert takes them; --verify too")
    artifact, known = entry.artifact, zoo.store.expectation(entry.artifact)
    kind = {"layout": artifact.layout, "geometry": _lists(asdict(geometry_of(entry))), "eps": entry.eps}
    if kind not in kinds:
        kinds.append(kind)
    urls = tuple(mirror.url if not mirror.relative else (zoo.base / mirror.url).absolute().as_uri() for mirror in artifact.urls)
    sizes = (artifact.size,) if artifact.size else ()
    return Item(name, name, artifact.name, urls, sizes, known.sha256, artifact.sha256_prefix, kind=kinds.index(kind))


def _of_file(path: Path) -> Item:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}") from error
    if fault := no_file(path):
        raise fault
    if path.suffix.lower() not in WEIGHTS:
        raise UsageError(f"{path}: expected a file of weights", hint=f"its name ends {', '.join(WEIGHTS)}")
    return Item(str(path.absolute()), path.name, path.name, (path.absolute().as_uri(),), (size,))


def _lists(geometry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in geometry.items()}


def refuse_layout(to: str | None) -> None:
    """Raises UsageError for a layout that there is not."""
    if to is not None and to not in NAMES:
        raise UsageError(f"no layout '{to}'", hint=f"there are {', '.join(NAMES)}")


def needs_disk(plan: Plan, workers: int) -> tuple[int, int]:
    """The bytes that a run needs in its folder, and those in the store of the machines that its workers are on.

    A worker has two files at a time: one that it works on with its conversion, and the next one on its way.
    """
    largest = max((item.size for item in plan.items), default=0)
    in_flight = workers * largest * (3 if plan.doing.to else 2)
    kept = plan.bytes if plan.doing.keep == "converted" and plan.doing.to else 0
    return kept, in_flight + (plan.bytes if plan.doing.keep == "source" else 0)


def absolute_zoos(zoos: Sequence[str]) -> list[str]:
    """Manifests as workers elsewhere find them."""
    return [one if one in PACKAGED else str(Path(one).absolute()) for one in zoos]
