"""What was proved of one entry, as JSON that another person can check.

Two receipts of the same run differ in time, device and versions only. While a run is under way, the checks that it has made lie
in an unfinished receipt beside the finished one.
"""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing
from segzoo.text import json_text, quoted
from segzoo.vocabulary import RECEIPT

SAME = ("sha256", "data_digest", "precision", "protocol", "eps", "labels")
"""The parts of an mIoU check's basis that must be equal before the counts of two runs can be compared."""
_PACKAGES = ("segzoo", "numpy", "torch", "jax", "pillow")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def receipt(name: str, title: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    """The receipt of an entry from its checks, in the order of the ladder."""
    return {
        "schema": RECEIPT,
        "name": name,
        "title": title,
        "passed": all(check["status"] != "failed" for check in checks),
        "checks": checks,
        "time": now(),
        "versions": versions(),
        "machine": platform.machine(),
    }


def versions() -> dict[str, str | None]:
    """The versions of the programs on which a result depends; None for one that is not installed."""
    return {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def dumps(record: Any) -> str:
    """JSON with sorted keys, so that equal records are equal bytes."""
    return json_text(record, sort_keys=True, ensure_ascii=False) + "\n"


def write_receipt(record: Mapping[str, Any], folder: Path) -> None:
    """Write the receipt of a finished run, and remove the unfinished one."""
    with replacing(folder / f"{record['name']}.json") as temporary:
        temporary.write_text(dumps(record), encoding="utf-8")
    unfinished(record["name"], folder).unlink(missing_ok=True)


def write_unfinished(record: Mapping[str, Any], folder: Path) -> None:
    """Write what a run has found so far, so that a run after it can go on from there."""
    with replacing(unfinished(record["name"], folder)) as temporary:
        temporary.write_text(dumps(record), encoding="utf-8")


def unfinished(name: str, folder: Path) -> Path:
    """Where the receipt of a run that is not finished lies."""
    return folder / f"{name}.unfinished"


def geometry_in(facts: Mapping[str, Any], geometry: Any) -> dict[str, Any]:
    """The geometry among a receipt's facts, as JSON. Fields of `geometry` that came after the receipt's version have their defaults."""
    later = {one.name: one.default for one in fields(geometry) if one.default is not MISSING}
    whole: dict[str, Any] = json.loads(json.dumps({**later, **facts}))
    return whole


def check_of(record: Mapping[str, Any], rung: str) -> Mapping[str, Any]:
    """The check of a rung; an empty, skipped one where the rung was not climbed."""
    return next((check for check in record["checks"] if check["rung"] == rung), {"status": "skipped", "facts": {}, "basis": {}})


def facts_of(record: Mapping[str, Any], rung: str) -> Mapping[str, Any]:
    """What a rung of a receipt found; nothing where the rung was not climbed."""
    return check_of(record, rung)["facts"]


def command(name: str, record: Mapping[str, Any], zoo_option: str) -> str:
    """The command that makes the same receipt again."""
    basis: Mapping[str, Any] = check_of(record, "mIoU")["basis"]
    if "images" not in basis:
        return f"segzoo {zoo_option}verify {name} --again"
    count = "all" if basis["images"] == basis["of"] else str(basis["images"])
    modes = " ".join(f"--mode {quoted(str(mode))}" for mode in basis["modes"])
    device, precision = (quoted(str(basis[what])) for what in ("device", "precision"))
    return f"segzoo {zoo_option}verify {name} --again --images {quoted(count)} {modes} --device {device} --precision {precision}"
