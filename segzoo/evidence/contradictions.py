"""Whether a receipt agrees with itself: would a run have written these words, figures and verdicts beside these facts?

The receipt fits its schema already.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segzoo.evaluation.counts import Counts, accuracy, iou, metrics, percent, total
from segzoo.evaluation.verdict import judge
from segzoo.evidence.check import NOT_TRIED, possible
from segzoo.evidence.rungs.difference import TOLERANCE, apart, off
from segzoo.evidence.rungs.outcome import of_mode, outcome, sentence, unequal
from segzoo.manifest.artifact import joint_sha256

Checks = Mapping[str, Mapping[str, Any]]
_MOST_JUDGED = 2_000_000  # images times classes of a subset: its interval takes 100 bytes for each


def contradictions(checks: Checks) -> Iterator[str]:
    """What no run would have written: a word that does not follow from the facts, a status that does not follow from the rungs below."""
    if (files := checks["bytes"]["facts"].get("files")) and joint_sha256(files) != checks["bytes"]["facts"]["sha256"]:
        yield "bytes: its sha256 is not that of its files"
    broken = False
    for rung, check in checks.items():
        yield from _words(rung, check)
        if (check["status"] == "failed") is not bool(check["code"]):
            yield f"{rung} is {check['status']} with exit code {check['code']}"
        if (check["short"] == NOT_TRIED) is not broken:
            yield f"{rung} is {check['status']}, after a rung that failed" if broken else f"{rung} was not tried, and none before it failed"
        broken = broken or check["status"] == "failed"
        yield from _of_other_bytes(rung, check["basis"], checks)
    yield from _unlike_the_ladder(checks)
    yield from _other_equivalents(checks.get("round trip", {"facts": {}, "basis": {}}))
    yield from _other_scores(checks.get("numbers", {"facts": {}, "basis": {}}))


def _words(rung: str, check: Mapping[str, Any]) -> Iterator[str]:
    if "modes" in check["facts"]:
        told = outcome(check["facts"], check["basis"])
        for what in ("status", "short", "detail", "code"):
            if check[what] != getattr(told, what):
                yield f"{rung} says '{check[what]}', by its facts it is '{getattr(told, what)}'"
        if check["basis"] != told.basis:
            yield f"{rung}: its basis has other modes than its facts, or another speed"
    elif check["short"] not in (words := possible(rung, check["status"], check["code"], check["facts"])):
        expected = " or ".join(f"'{word}'" for word in sorted(words)) or "what no run writes"
        yield f"{rung}, {check['status']}, says '{check['short']}', by its facts it is {expected}"


def _of_other_bytes(rung: str, basis: Mapping[str, Any], checks: Checks) -> Iterator[str]:
    """The bytes and the geometry of a rung are those of the rungs below."""
    if basis and basis["sha256"] != checks["bytes"]["facts"].get("sha256"):
        yield f"{rung} is of other bytes than the rung of the bytes"
    if basis and basis["geometry"] != checks["names"]["facts"].get("geometry"):
        yield f"{rung} is of another geometry than the rung of the names"


def _unlike_the_ladder(checks: Checks) -> Iterator[str]:
    """What the rungs say of one another."""
    names, numbers, score = (checks.get(rung, {"status": None, "facts": {}, "basis": {}}) for rung in ("names", "numbers", "mIoU"))
    if numbers["status"] == "passed" and (off := [one for one in numbers["facts"]["intermediates"] if one["relative"] > TOLERANCE[one["dtype"]]]):
        yield f"numbers passed, and {off[0]['name']} differs by {off[0]['relative']:.1e} in {off[0]['dtype']}"
    if names["status"] == "passed" and score["status"] == "n/a" and names["facts"]["geometry"]["decoder"] is not None:
        yield "mIoU is n/a, of a model with a decoder"
    facts, basis = score["facts"], score["basis"]
    for what in ("images", "of"):
        if facts and facts[what] != basis[what]:
            yield f"mIoU: its facts have {what} {facts[what]}, its basis {basis[what]}"
    for mode, one in facts.get("modes", {}).items():
        if len(one["per_image"]) != facts["images"] or facts["images"] > facts["of"]:
            yield f"mIoU, {mode}: counts of {len(one['per_image'])} images, said to be {facts['images']} of {facts['of']}"
        if one["reported"] != (expected := of_mode(basis["reported"], mode)):
            yield f"mIoU, {mode}: {one['reported']} is said to be reported, its basis has {expected}"
        if "stored_counts" in one and (basis["counts"] is None or mode not in basis["counts"]["keys"] or basis["precision"] != "fp32"):
            yield f"mIoU, {mode}: its basis has no counts to compare with"


def _other_equivalents(check: Mapping[str, Any]) -> Iterator[str]:
    """The equivalents that were compared are those that the rung depends on."""
    if (found := set(check["facts"].get("equivalents", {}))) != (expected := set(check["basis"].get("equivalents", {}))):
        yield f"round trip: equal to {', '.join(sorted(found)) or 'no equivalent'}, its basis has {', '.join(sorted(expected)) or 'none'}"


def _other_scores(check: Mapping[str, Any]) -> Iterator[str]:
    """The scores of a witness are those that the rung depends on, and there are intermediates if and only if a reference was asked."""
    facts, basis = check["facts"], check["basis"]
    if facts and bool(facts["intermediates"]) is not basis.get("reference", True):
        yield "numbers: intermediates without a reference" if facts["intermediates"] else "numbers: a reference without intermediates"
    mine, published = facts.get("witness"), basis.get("witness")
    if (mine is None) is not (published is None):
        yield "numbers: scores without a witness, or a witness without scores"
    elif mine and published:
        if [*map(len, mine["scores"])] != [*map(len, published["scores"])]:
            yield "numbers: other scores than those of its witness"
        elif mine["apart"] != (expected := apart(mine["scores"], published["scores"])):
            yield f"numbers: its scores are {expected} apart from those of its witness, it says {mine['apart']}"
        elif off(mine["scores"], published["scores"], published["tolerance"]):
            yield f"numbers passed, and its scores are {expected} apart from those of its witness"


def wrong_figures(facts: Mapping[str, Any], of: int, reported: Mapping[str, Any] | None, classes: Sequence[str] = ()) -> Iterator[str]:
    """What does not follow from the counts of a mode's images: metrics, classes, confusion matrix, verdict, sentence.

    `classes` are the names of the model's classes in order; without them the figures of the classes are compared, whosever they are.
    """
    confusion = np.array(facts["confusion"], np.int64)
    whole = summed(facts["per_image"], confusion.shape[1])
    if metrics(whole) != facts["measured"]:
        yield f"the counts give {metrics(whole)}, the receipt says {facts['measured']}"
    if whole != Counts(confusion[:-1].diagonal(), confusion.sum(0), confusion[:-1].sum(1)):
        yield "the confusion matrix is not that of the counts"
    mine = [{"IoU": percent(one), "Acc": percent(other)} for one, other in zip(iou(whole), accuracy(whole), strict=True)]
    its = facts["per_class"]
    named = dict(zip(classes, mine, strict=True)) if len(classes) == len(mine) and set(classes) == set(its) else None
    if its != named if named is not None else _sorted(its.values()) != _sorted(mine):
        yield "the figures of the classes are not those of the counts"
    yield from _wrong_verdict(facts, whole, of, reported)


def _wrong_verdict(facts: Mapping[str, Any], whole: Counts, of: int, reported: Mapping[str, Any] | None) -> Iterator[str]:
    if unequal(facts):
        if "verdict" in facts or not facts["said"].startswith("the pixel counts of "):
            yield "its counts are not those stored, and it says more"
        return
    images, classes = len(facts["per_image"]), len(facts["confusion"]) - 1
    why = ""
    if facts["reported"] is None or reported is None:
        verdict = None
    elif images < of and images * classes > _MOST_JUDGED:
        yield f"{images} images of {classes} classes are a subset too large to be judged again"
        return
    elif images < of:
        parts = [Counts.from_sparse(rows, classes) for rows in facts["per_image"].values()]
        verdict, why = judge(parts, facts["reported"], reported["decimals"], of)
    else:  # a sum is judged as its parts are
        verdict, why = judge([whole], facts["reported"], reported["decimals"], 1)
    if "verdict" not in facts or verdict != facts["verdict"]:
        yield f"the counts say {verdict}, the receipt {facts.get('verdict')}"
    elif facts["said"] != (said := sentence({**facts, "measured": metrics(whole)}, why, reported["decimals"] if reported else 0)):
        yield f"it says '{facts['said']}', by its counts '{said}'"


def summed(per_image: Mapping[str, Sequence[Sequence[int]]], classes: int) -> Counts:
    """The sum over images of counts as a receipt holds them."""
    rows = np.array([row for rows in per_image.values() for row in rows], np.int64).reshape(-1, 4)
    whole = np.zeros((3, classes), np.int64)
    for counts, column in zip(whole, rows.T[1:], strict=True):
        np.add.at(counts, rows[:, 0], column)
    return total([Counts(*whole)])


def _sorted(figures: Any) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in figures)
