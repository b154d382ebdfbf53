"""The word that stands for a rung in a table: what it can be, by the status and the facts that a receipt has of the rung."""

from collections.abc import Callable, Mapping
from typing import Any

from segzoo.errors import NetworkError, NotFoundError

NOT_TRIED = "-"  # above a rung that failed
FAILED = {NetworkError.exit_code: "not fetched", NotFoundError.exit_code: "not found"}  # otherwise just 'failed'
_MISSING = {"numbers": {"no torch", "no jax"}, "mIoU": {"no torch", "no PIL", "no data"}}  # for lack of which a rung is skipped

Facts = Mapping[str, Any]


def proved(rung: str, facts: Facts) -> str:
    """The word for what a file's own rungs have proved."""
    return _PROVED[rung](facts)


_PROVED: Mapping[str, Callable[[Facts], str]] = {
    "names": lambda facts: str(facts["layout"]),
    "round trip": lambda facts: f"{facts['tensors']} tensors",
    "numbers": lambda facts: f"{max(one['relative'] for one in facts['intermediates'] if one['dtype'] == 'float64'):.0e}",
}


def possible(rung: str, status: str, code: int, facts: Facts) -> set[str]:
    """Every word that a run may write for such a rung without an mIoU; none where no run writes such a rung."""
    if status == "n/a":
        return {"n/a"} if rung in ("numbers", "mIoU") else set()
    if status == "failed":
        return {FAILED.get(code, "failed")}
    if status == "skipped":
        return {NOT_TRIED} | _MISSING.get(rung, set())
    if rung == "bytes":
        return _held_to(facts["evidence"])
    return {proved(rung, facts)} if rung in _PROVED else set()


def _held_to(evidence: str) -> set[str]:
    """What bytes were held to. A pin by hand may be of any of the three."""
    prefix, none = "prefix, pinned", "no hash, pinned"
    if evidence == "sha256 pinned by hand":
        return {"sha256", prefix, none}
    return {"sha256"} if evidence == "sha256" else {prefix} if evidence.startswith("prefix (32 bits)") else {none}
