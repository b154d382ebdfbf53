"""Which receipt stays, where there is one already."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from segzoo.evidence.receipt import SAME, check_of, facts_of, receipt
from segzoo.evidence.rungs.outcome import outcome, same_question
from segzoo.manifest.entries import Entry, Model, geometry_of


def outweighed(record: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> str | None:
    """What an earlier receipt has found of the same bytes that this one, which broke nothing else, has not: the mIoU, or that of
    more images, in float32, in more modes. A figure that is refuted is found as one that is confirmed.
    """
    if earlier is None or any(check["status"] == "failed" for check in record["checks"] if check["rung"] != "mIoU"):
        return None
    score, before = check_of(record, "mIoU"), check_of(earlier, "mIoU")
    if score["status"] == "failed" and (not score["basis"] or before["status"] != "failed"):
        return None
    if not before["basis"] or facts_of(record, "bytes").get("sha256") != before["basis"]["sha256"]:
        return None
    if not score["basis"]:
        return f"the mIoU of {before['facts']['images']} images" if score["status"] == "skipped" else None
    mine, its = score["basis"], before["basis"]
    if mine["images"] > its["images"] or any(mine[what] != its[what] for what in SAME if what != "precision"):
        return None
    if mine["images"] < its["images"]:
        return f"the mIoU of {before['facts']['images']} images, not {score['facts']['images']}"
    if mine["precision"] != its["precision"] == "fp32":
        return f"the mIoU in fp32, not {mine['precision']}"
    lacking = [mode for mode in its["modes"] if mode not in mine["modes"]]
    return f"the mIoU in mode {' and '.join(lacking)} too" if lacking else None


def of_other_data(record: Mapping[str, Any], earlier: Mapping[str, Any]) -> str | None:
    """The mIoU that an earlier receipt has of another state of the data set than this one, which takes its place."""
    mine, its = check_of(record, "mIoU"), check_of(earlier, "mIoU")
    if not mine["basis"] or not its["basis"] or mine["basis"]["data_digest"] == its["basis"]["data_digest"]:
        return None
    return f"the mIoU of {its['facts']['images']} images of another state of the data set"


def settled(record: dict[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """A receipt by all modes that it has, asked for or kept, and that an earlier one of the same question has, which another run
    may have written meanwhile.
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
    """What the manifest says otherwise now than when an entry's receipt was made: bytes, geometry, eps, protocol, reported figures."""
    found = []
    expected = json.loads(json.dumps(asdict(geometry_of(entry))))
    if entry.artifact.sha256 and facts_of(record, "bytes").get("sha256", entry.artifact.sha256) != entry.artifact.sha256:
        found.append("bytes")
    if facts_of(record, "names").get("geometry", expected) != expected:
        found.append("geometry")
    bases: dict[str, Mapping[str, Any]] = {check["rung"]: check["basis"] for check in record["checks"] if check["basis"]}
    if bases.get("numbers", {}).get("eps", entry.eps) != entry.eps:
        found.append("eps")
    if (basis := bases.get("mIoU")) and isinstance(entry, Model):
        reported = entry.reported.model_dump(mode="json") if entry.reported else None
        now = {"protocol": entry.protocol.model_dump(mode="json"), "eps": [entry.eps, entry.head_eps], "reported": reported}
        found += [what for what, value in now.items() if what not in found and basis[what] != json.loads(json.dumps(value))]
    return found
