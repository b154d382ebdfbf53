"""Which receipt stays where there is one already: a run that proves less does not replace one that proves more."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from segzoo.evidence.receipt import SAME, check_of, facts_of, geometry_in, receipt
from segzoo.evidence.rungs.outcome import outcome, same_question
from segzoo.manifest.entries import Entry, Model, geometry_of

_MUST_AGREE = tuple(what for what in SAME if what != "precision")  # float32 outweighs another precision


def outweighed(record: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> str | None:
    """What an earlier receipt has measured of the same bytes and this one has not; None where this one is to be kept.

    That is the mIoU, or the mIoU of more images, in float32 or in more modes. A refuted figure counts as much as a confirmed one.
    """
    if earlier is None or _new_fault(record, earlier):
        return None
    mine, its = check_of(record, "mIoU"), check_of(earlier, "mIoU")
    if not its["basis"] or its["basis"]["sha256"] != facts_of(record, "bytes").get("sha256"):
        return None
    if mine["basis"]:
        return _measured_more(its, mine)
    return f"the mIoU of {its['facts']['images']} images" if mine["status"] == "skipped" else None


def _new_fault(record: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    """Whether a receipt says of a failure what the earlier one does not say."""
    if any(check["status"] == "failed" for check in record["checks"] if check["rung"] != "mIoU"):
        return True
    mine, its = check_of(record, "mIoU"), check_of(earlier, "mIoU")
    refuted_before = bool(mine["basis"]) and its["status"] == "failed"
    return mine["status"] == "failed" and not refuted_before


def _measured_more(its: Mapping[str, Any], mine: Mapping[str, Any]) -> str | None:
    """What one mIoU check has measured that the other has not. Two checks of other data or another protocol are not compared."""
    more, less = its["basis"], mine["basis"]
    if less["images"] > more["images"] or any(less.get(what) != more.get(what) for what in _MUST_AGREE):
        return None
    if less["images"] < more["images"]:
        return f"the mIoU of {its['facts']['images']} images, not {mine['facts']['images']}"
    if less["precision"] != more["precision"] == "fp32":
        return f"the mIoU in fp32, not {less['precision']}"
    lacking = [mode for mode in more["modes"] if mode not in less["modes"]]
    return f"the mIoU in mode {' and '.join(lacking)} too" if lacking else None


def of_other_data(record: Mapping[str, Any], earlier: Mapping[str, Any]) -> str | None:
    """The mIoU that is lost when a receipt replaces an earlier one that was measured on another state of the data set."""
    mine, its = check_of(record, "mIoU"), check_of(earlier, "mIoU")
    if not mine["basis"] or not its["basis"] or mine["basis"]["data_digest"] == its["basis"]["data_digest"]:
        return None
    return f"the mIoU of {its['facts']['images']} images of another state of the data set"


def settled(record: dict[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """A receipt with every mode that it has and that an earlier receipt of the same question has.

    Another run may have written that earlier receipt while this run was under way.
    """
    mine = check_of(record, "mIoU")
    if not mine["facts"].get("modes"):
        return record
    other = check_of(earlier, "mIoU") if earlier and earlier["versions"] == record["versions"] else {}
    facts = dict(mine["facts"])
    if same_question(other, mine["basis"]):
        facts = {**other["facts"], **facts, "modes": {**other["facts"]["modes"], **facts["modes"]}}
    joined = outcome(facts, mine["basis"]).record() | {"seconds": mine["seconds"], "time": mine["time"]}
    return receipt(record["name"], record["title"], [joined if check is mine else check for check in record["checks"]])


def changed(record: Mapping[str, Any], entry: Entry) -> list[str]:
    """The parts of an entry that the manifest has changed since the receipt was made: bytes, geometry, eps, protocol, reported figures,
    published scores.
    """
    return list(dict.fromkeys([*_changed_file(record, entry), *_changed_question(record, entry)]))


def _changed_file(record: Mapping[str, Any], entry: Entry) -> Iterator[str]:
    sha256, geometry = facts_of(record, "bytes").get("sha256"), geometry_of(entry)
    if sha256 and not sha256.startswith(entry.artifact.joint_sha256 or entry.artifact.sha256_prefix or ""):
        yield "bytes"
    if (then := facts_of(record, "names").get("geometry")) is not None and geometry_in(then, geometry) != _as_json(asdict(geometry)):
        yield "geometry"
    basis = check_of(record, "numbers")["basis"]
    if basis.get("eps", entry.eps) != entry.eps:
        yield "eps"
    then, published = basis.get("witness"), entry.witness if isinstance(entry, Model) else None
    if then and then != (published and _as_json(published.basis(then["sha256"]))):
        yield "witness"


def _changed_question(record: Mapping[str, Any], entry: Entry) -> Iterator[str]:
    basis = check_of(record, "mIoU")["basis"]
    if not basis or not isinstance(entry, Model):
        return
    protocol = entry.protocol.plain
    if protocol["dataset"] is None:  # the folder of a run is no part of such an entry
        protocol["dataset"] = basis["protocol"]["dataset"]
    now = {
        "protocol": protocol,
        "eps": [entry.eps, entry.head_eps],
        "reported": entry.reported.model_dump(mode="json") if entry.reported else None,
    }
    yield from (what for what, value in now.items() if basis[what] != _as_json(value))


def _as_json(value: Any) -> Any:
    """A value as a receipt has it: a tuple comes back from JSON as a list."""
    return json.loads(json.dumps(value))
