"""A receipt, checked again offline: is it whole, do its figures follow from its counts, are the files those that it names?

Nothing is proved anew. The check shows that a receipt contradicts neither itself nor the files that are here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from segzoo.conversion.checkpoint import identified
from segzoo.errors import EnvironmentFault, IntegrityError, SegzooError
from segzoo.evidence.contradictions import Checks, contradictions, wrong_figures
from segzoo.evidence.reading import EDITED, read_receipt
from segzoo.evidence.receipt import geometry_in
from segzoo.formats import open_weights
from segzoo.layouts import explicit
from segzoo.layouts.family import told
from segzoo.manifest.artifact import joint_sha256
from segzoo.store.store import Store


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One thing that was checked: it holds, it contradicts the receipt, or it is not here."""

    what: str
    status: Literal["holds", "broken", "not here"]
    detail: str


def recheck(
    path: Path, store: Store | None = None, data: Path | None = None, roots: Mapping[str, str] | None = None, classes: Sequence[str] = ()
) -> Iterator[Rechecked]:
    """Check all of a receipt that can be checked here.

    `store` has the weights, if they are to be checked. `data` is the folder of the data set, if that is to be checked, or the folder
    above it: `roots` gives for each data set the name that it has there. `classes` are the names of the model's classes, if they are
    known. Raises NotFoundError where there is no file, IntegrityError for a file that is no receipt.
    """
    receipt = read_receipt(path)
    checks: dict[str, Mapping[str, Any]] = {check["rung"]: check for check in receipt["checks"]}
    yield _whole(receipt, checks)
    if store and checks["bytes"]["status"] == "passed":
        yield from _file(checks, store)
    yield from _figures(checks, classes)
    basis = checks["mIoU"]["basis"]
    if data is not None and basis:
        yield _data(basis, data, (roots or {}).get(basis["protocol"]["dataset"], ""))


def checked(path: Path, name: str, *, unfinished: bool = False, classes: Sequence[str] = ()) -> dict[str, Any]:
    """A receipt of the entry of this name that does not contradict itself; its files are not looked at.

    Raises IntegrityError for any other, and NotFoundError.
    """
    receipt = read_receipt(path, unfinished=unfinished)
    if receipt["name"] != name:
        raise IntegrityError(f"{path}: name: expected {name}, found {receipt['name']}", hint="it is the receipt of another entry")
    checks = {check["rung"]: check for check in receipt["checks"]}
    if broken := [f"{one.what}: {one.detail}" for one in (_whole(receipt, checks), *_figures(checks, classes)) if one.status == "broken"]:
        raise IntegrityError(f"{path}: {'; '.join(broken)}", hint=EDITED)
    return receipt


def _whole(receipt: Mapping[str, Any], checks: Checks) -> Rechecked:
    """Whether the words and statuses of a receipt agree with its facts."""
    failed = [rung for rung, check in checks.items() if check["status"] == "failed"]
    said = f"{len(checks)} rungs, {'none' if not failed else ', '.join(failed)} failed"
    wrong = list(contradictions(checks))
    holds = receipt["passed"] is not bool(failed) and not wrong
    return Rechecked("receipt", "holds" if holds else "broken", "; ".join([said, *wrong, f"as of {receipt['time']}"]))


def _figures(checks: Checks, classes: Sequence[str]) -> Iterator[Rechecked]:
    """Whether the figures of each mode follow from the counts of its images."""
    score = checks.get("mIoU", {"facts": {}, "basis": {}})
    facts = score["facts"]
    for mode, one in facts.get("modes", {}).items():
        wrong = list(wrong_figures(one, facts["of"], score["basis"]["reported"], classes))
        found = f"{len(one['per_image'])} of {facts['of']} images, mIoU {one['measured']['mIoU']:.2f}"
        found += f", {one['verdict']}" if one.get("verdict") else ""
        yield Rechecked(f"mIoU, {mode}", "broken" if wrong else "holds", "; ".join(wrong) or found)


def _file(checks: Checks, store: Store) -> Iterator[Rechecked]:
    """The weights, if the store has them: their hash, then their layout and geometry."""
    facts = checks["bytes"]["facts"]
    files: Mapping[str, str] = facts.get("files") or {facts["artifact"]: facts["sha256"]}
    hashes = {}
    for name, sha256 in files.items():
        if (blob := store.stored(sha256)) is None:
            yield Rechecked("bytes", "not here", f"{name} is not in the store")
            return
        with blob.open("rb") as stream:
            hashes[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    found = joint_sha256(hashes)
    yield Rechecked("bytes", "holds" if found == facts["sha256"] else "broken", f"{facts['artifact']}: sha256 {found}")
    names = checks["names"]
    if names["status"] == "passed" and found == facts["sha256"]:
        yield _names(names["facts"], store.together(facts["artifact"], files))


def _names(facts: Mapping[str, Any], blob: Path) -> Rechecked:
    """Whether the file has the layout and the geometry that the receipt has. Heads, which no tensor may show, must suit the tensors."""
    expected = facts["geometry"]
    heads, positions = expected.get("heads"), expected.get("positions")
    try:
        file = identified(
            open_weights(blob),
            layout=explicit(facts["layout"]),
            heads=heads if isinstance(heads, int) else None,
            positions=positions if isinstance(positions, int) else None,
        )
    except SegzooError as error:
        return Rechecked("names", "broken", error.message)
    measured, layout = asdict(told(file.geometry, expected)), file.found.layout.name
    holds = (layout, len(file.weights)) == (facts["layout"], facts["tensors"])
    holds = holds and json.loads(json.dumps(measured)) == geometry_in(expected, file.geometry)
    return Rechecked("names", "holds" if holds else "broken", f"{layout}, {len(file.weights)} tensors")


def _data(basis: Mapping[str, Any], data: Path, root: str) -> Rechecked:
    """Whether the data set in a folder is the one that was measured; the receipt names its loader, its split and its number of images."""
    from segzoo.datasets.loaders import loader
    from segzoo.datasets.pairs import digest, samples_in

    try:
        found = digest(samples_in(data, root, loader(basis["loader"], basis.get("folders")), basis["split"], basis["of"])[1])
    except EnvironmentFault as error:  # the folder cannot be read, which says nothing about the receipt
        return Rechecked("data", "not here", "; ".join(filter(None, [error.message, error.hint])))
    return Rechecked("data", "holds" if found == basis["data_digest"] else "broken", f"digest {found}")
