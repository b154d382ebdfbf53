"""The outcome of a rung, and the words that may stand for it in a table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from segzoo.errors import NetworkError, NotFoundError
from segzoo.layouts import FAMILIES


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rung. `short` fits a table's cell, `detail` is a sentence, `facts` go into the receipt.

    `basis` is all that the outcome depends on, except the versions of programs: a run with the same basis takes the
    outcome over. `time` is when an outcome that was taken over was found.
    """

    rung: str
    status: str
    short: str
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)
    basis: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    seconds: float = 0.0
    time: str | None = None

    def record(self) -> dict[str, Any]:
        """As a receipt holds it."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))


def came_of(status: str, basis: Mapping[str, Any]) -> str:
    """What came of a rung, in a word. A figure that nothing can be compared with is measured, not skipped."""
    return "measured" if status == "skipped" and "modes" in basis else status


NOT_TRIED = "-"  # the word for a rung above one that failed
FAILED = {NetworkError.exit_code: "not fetched", NotFoundError.exit_code: "not found"}  # for other codes 'failed'
LACKS = "a library lacks"  # the word where a library does not load, or needs another one
_NEEDED = {  # what may not be here
    "numbers": {"torch", "picture", *(family.reference.library for family in FAMILIES.values() if family.reference)},
    "mIoU": {"torch", "PIL", "data"},
}

Facts = Mapping[str, Any]


def proved(rung: str, facts: Facts) -> str:
    """The word for what a rung below the mIoU has proved."""
    return _PROVED[rung](facts)


_PROVED: Mapping[str, Callable[[Facts], str]] = {
    "names": lambda facts: str(facts["layout"]),
    "round trip": lambda facts: f"{facts['tensors']} tensors",
    "numbers": lambda facts: _largest(facts),
}


def _largest(facts: Facts) -> str:
    """The largest difference from the reference; from the published scores where no reference was asked."""
    if not facts["intermediates"]:
        return f"scores {facts['witness']['apart']:.0e}"
    return f"{max(one['relative'] for one in facts['intermediates'] if one['dtype'] == 'float64'):.0e}"


def possible(rung: str, status: str, code: int, facts: Facts) -> set[str]:
    """Every word that a run may write for a rung with this status and these facts; none where no run writes such a rung.

    Rungs with figures of an mIoU are not among them: `outcome` gives their words.
    """
    if status == "n/a":
        return {"n/a"} if rung in ("round trip", "numbers", "mIoU") else set()
    if status == "failed":
        return {FAILED.get(code, "failed")}
    if status == "skipped":
        return {NOT_TRIED, LACKS} | {f"no {library}" for library in _NEEDED.get(rung, ())}
    if rung == "bytes":
        return _held_to(facts["evidence"])
    return {proved(rung, facts)} if rung in _PROVED else set()


def _held_to(evidence: str) -> set[str]:
    """The words for what the bytes were compared with. A hash that the user pinned may stand for any of them."""
    prefix, none = "prefix, pinned", "no hash, pinned"
    if evidence == "sha256 pinned by hand":
        return {"sha256", prefix, none}
    return {"sha256"} if evidence == "sha256" else {prefix} if evidence.startswith("prefix (32 bits)") else {none}
