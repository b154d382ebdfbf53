"""What was proved of one entry, as JSON that another person can check: deterministic but for time, device and versions."""

import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segzoo.atomic import replacing

SCHEMA = "segzoo-receipt/1"
_PACKAGES = ("segzoo", "numpy", "torch", "jax", "pillow")


def receipt(name: str, title: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    """The receipt of an entry from its checks, in the order of the ladder."""
    return {
        "schema": SCHEMA,
        "name": name,
        "title": title,
        "passed": all(check["status"] != "failed" for check in checks),
        "checks": checks,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}},
        "machine": platform.machine(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def dumps(record: Any) -> str:
    """JSON with sorted keys, so that equal records are equal bytes."""
    return json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write(record: dict[str, Any], folder: Path) -> Path:
    path = folder / f"{record['name']}.json"
    with replacing(path) as part:
        part.write_text(dumps(record), encoding="utf-8")
    return path
