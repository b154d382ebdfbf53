"""The receipts that are here already, and what a run may go on from.

One that is broken counts as not there. It is named, and keeps nothing from the other entries.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.evidence.receipt import facts_of, unfinished, versions
from segzoo.evidence.recheck import checked

Note = Callable[[str], None]


def known(path: Path, note: Note) -> dict[str, Any] | None:
    """A receipt that agrees with itself; None where there is none. `note` gets a sentence about one that is broken."""
    try:
        return checked(path, path.stem, unfinished=path.suffix == ".unfinished")
    except NotFoundError:
        return None
    except IntegrityError as error:
        note(f"{error.message}; {error.hint}")
        return None


def free_for(path: Path, sha256: str) -> bool:
    """Whether a receipt of these bytes may have this path: there is none that holds, or one of the same bytes."""
    record = known(path, lambda sentence: None)
    return record is None or facts_of(record, "bytes").get("sha256") in (None, sha256)


def proved_before(name: str, folder: Path, note: Note, *, any_version: bool = False) -> Mapping[str, Mapping[str, Any]]:
    """The checks of an entry that earlier runs made with the same versions of the programs, by rung.

    The unfinished receipt is the newer one: its checks count before those of the finished one, if they say anything.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in (folder / f"{name}.json", unfinished(name, folder)):
        record = known(path, note)
        if record is not None and (any_version or record["versions"] == versions()):
            newer = {check["rung"]: {**check, "time": check.get("time") or record["time"]} for check in record["checks"]}
            found |= {rung: check for rung, check in newer.items() if rung not in found or _says(check) or not _says(found[rung])}
    return found


def _says(check: Mapping[str, Any]) -> bool:
    """Whether a rung was climbed, and passed or gave figures."""
    return check["status"] in ("passed", "n/a") or (check["status"] == "skipped" and bool(check["basis"]))
