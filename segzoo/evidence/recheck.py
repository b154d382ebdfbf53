"""A receipt, checked again offline: is it whole, do its figures follow from its counts, are the files those that it names?

Nothing is proved anew. The check shows that a receipt contradicts neither itself nor the files that are here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from segzoo.conversion.checkpoint import identify
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, SegzooError
from segzoo.evaluation.counts import Counts, metrics, total
from segzoo.evaluation.verdict import judge
from segzoo.evidence.check import NOT_TRIED, possible
from segzoo.evidence.receipt import geometry_in
from segzoo.evidence.record import CheckRecord, Receipt
from segzoo.evidence.rungs.outcome import outcome
from segzoo.layouts.family import told
from segzoo.store.store import Store
from segzoo.vocabulary import RECEIPT, RUNGS

_EDITED = "it was edited or cut short; segzoo verify NAME makes a new one"


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One thing that was checked: it holds, it contradicts the receipt, or it is not here."""

    what: str
    status: Literal["holds", "broken", "not here"]
    detail: str


def recheck(path: Path, store: Store | None = None, data: Path | None = None, roots: Mapping[str, str] | None = None) -> Iterator[Rechecked]:
    """Check all of a receipt that can be checked here.

    `store` has the weights, if they are to be checked. `data` is the folder of the data set, if that is to be checked, or the folder
    above it: `roots` gives for each data set the name that it has there. Raises NotFoundError where there is no file, IntegrityError
    for a file that is no receipt.
    """
    receipt = _read(path)
    try:
        yield from _findings(receipt, store, data, roots or {})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # facts in another form than their rung writes
        raise IntegrityError(f"{path}: damaged: {error!r}", hint=_EDITED) from error


def _findings(receipt: Receipt, store: Store | None, data: Path | None, roots: Mapping[str, str]) -> Iterator[Rechecked]:
    checks: dict[str, CheckRecord] = {check.rung: check for check in receipt.checks}
    failed = [check.rung for check in receipt.checks if check.status == "failed"]
    said = f"{len(checks)} rungs, {'none' if not failed else ', '.join(failed)} failed"
    wrong = list(_unlike_a_run(checks))
    holds = receipt.passed is not bool(failed) and not wrong
    yield Rechecked("receipt", "holds" if holds else "broken", "; ".join([said, *wrong, f"as of {receipt.time}"]))
    if store and checks["bytes"].status == "passed":
        yield from _file(checks, store)
    score = checks["mIoU"]
    for mode, facts in score.facts.get("modes", {}).items():
        yield _figures(mode, facts, score.facts["of"], score.basis["reported"])
    if data is not None and "data_digest" in score.basis:
        yield _data(score.basis, data, roots.get(score.basis["protocol"]["dataset"], ""))


def _unlike_a_run(checks: Mapping[str, CheckRecord]) -> Iterator[str]:
    """What no run would have written: a word that does not follow from the facts, a status that does not follow from the rungs below."""
    broken = False
    for rung, check in checks.items():
        if check.facts.get("modes"):
            told = outcome(check.facts, check.basis)
            for mine, its in ((check.status, told.status), (check.short, told.short), (check.detail, told.detail)):
                if mine != its:
                    yield f"{rung} says '{mine}', by its facts it is '{its}'"
        elif check.short not in (words := possible(rung, check.status, check.code, check.facts)):
            expected = " or ".join(f"'{word}'" for word in sorted(words)) or "what no run writes"
            yield f"{rung}, {check.status}, says '{check.short}', by its facts it is {expected}"
        if (check.status == "failed") is not bool(check.code):
            yield f"{rung} is {check.status} with exit code {check.code}"
        if (check.short == NOT_TRIED) is not broken:
            yield f"{rung} is {check.status}, after a rung that failed" if broken else f"{rung} was not tried, and none before it failed"
        broken = broken or check.status == "failed"
    names, score = checks["names"], checks["mIoU"]
    if names.status == "passed" and score.status == "n/a" and names.facts["geometry"]["decoder"] is not None:
        yield "mIoU is n/a, of a model with a decoder"


def _read(path: Path) -> Receipt:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such receipt", hint="segzoo verify NAME writes one") from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: not a receipt: {error}", hint=_EDITED) from error
    if not isinstance(plain, dict) or plain.get("schema") != RECEIPT:
        raise IntegrityError(f"{path}: not a receipt of this version: expected schema {RECEIPT}", hint="segzoo verify NAME writes a new one")
    try:
        receipt = Receipt.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        first = error.errors()[0]
        raise IntegrityError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint=_EDITED) from error
    if (rungs := tuple(check.rung for check in receipt.checks)) != RUNGS:
        raise IntegrityError(f"{path}: its rungs are {', '.join(rungs) or 'none'}, expected {', '.join(RUNGS)}", hint=_EDITED)
    return receipt


def _file(checks: Mapping[str, CheckRecord], store: Store) -> Iterator[Rechecked]:
    """The weights, if the store has them: their hash, then their layout and geometry."""
    facts = checks["bytes"].facts
    blob = store.blob(facts["sha256"])
    if not blob.is_file():
        yield Rechecked("bytes", "not here", f"{facts['artifact']} is not in the store")
        return
    with blob.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    yield Rechecked("bytes", "holds" if found == facts["sha256"] else "broken", f"{facts['artifact']}: sha256 {found}")
    names = checks.get("names")
    if names is None or names.status != "passed" or found != facts["sha256"]:
        return
    expected = names.facts["geometry"]
    try:
        file = identify(blob, heads=expected.get("heads"), positions=expected.get("positions"))
    except SegzooError as error:
        yield Rechecked("names", "broken", error.message)
        return
    measured, layout = asdict(told(file.geometry, expected)), file.found.layout.name
    holds = layout == names.facts["layout"] and json.loads(json.dumps(measured)) == geometry_in(expected, file.geometry)
    yield Rechecked("names", "holds" if holds else "broken", f"{layout}, {len(file.weights)} tensors")


def _figures(mode: str, facts: Mapping[str, Any], of: int, reported: Mapping[str, Any]) -> Rechecked:
    """Whether metrics, confusion matrix and verdict follow from the counts of the images."""
    confusion = np.array(facts["confusion"], np.int64)
    classes = confusion.shape[1]
    try:
        counts = [Counts.from_sparse(rows, classes) for rows in facts["per_image"].values()]
    except (ValueError, IndexError, TypeError) as error:
        return Rechecked(f"mIoU, {mode}", "broken", f"the counts of an image are damaged: {error}")
    whole = total(counts)
    wrong = []
    if metrics(whole) != facts["measured"]:
        wrong.append(f"the counts give {metrics(whole)}, the receipt says {facts['measured']}")
    if whole != Counts(confusion[:-1].diagonal(), confusion.sum(0), confusion[:-1].sum(1)):
        wrong.append("the confusion matrix is not that of the counts")
    if facts["reported"] is not None and "verdict" in facts:
        verdict, _ = judge(counts, facts["reported"], reported["decimals"], of)
        if verdict != facts["verdict"]:
            wrong.append(f"the counts say {verdict}, the receipt {facts['verdict']}")
    said = f"{len(counts)} of {of} images, mIoU {metrics(whole)['mIoU']:.2f}" + (f", {facts['verdict']}" if facts.get("verdict") else "")
    return Rechecked(f"mIoU, {mode}", "broken" if wrong else "holds", "; ".join(wrong) or said)


def _data(basis: Mapping[str, Any], data: Path, root: str) -> Rechecked:
    """Whether the data set in a folder is the one that was measured; the receipt names its loader, its split and its number of images."""
    from segzoo.datasets.loaders import loader
    from segzoo.datasets.pairs import digest, samples_in

    try:
        found = digest(samples_in(data, root, loader(basis["loader"], basis.get("folders")), basis["split"], basis["of"])[1])
    except EnvironmentFault as error:  # the folder cannot be read, which says nothing about the receipt
        return Rechecked("data", "not here", "; ".join(filter(None, [error.message, error.hint])))
    return Rechecked("data", "holds" if found == basis["data_digest"] else "broken", f"digest {found}")
