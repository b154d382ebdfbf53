"""Proves every entry of a zoo that is not too large, as `segzoo verify` does, one file at a time: what a machine with a network runs weekly.

    python bench/prove_zoo.py --max-size 400MB -o proved/
    python bench/prove_zoo.py --zoo zoo.yaml --data ADEChallengeData2016 --images 50 -o proved/

A size that the manifest lacks is asked of the addresses, without a download, unless the entry's tensors alone are too large. Two
connections a host are the most. Each file that came is removed once its entry is done, unless --keep has room for it. mIoU is measured
where the data set is here. The folder gets `receipts/`, `proved.json` (one record an entry), `summary.md`, and `failed/NAME.md` for each
entry whose rung failed, with its receipt. An entry that no network reached, or whose run this machine cut short, is `not proved`: that
says nothing of the file.

Exit 0 when entries passed and no rung failed, 4 when one failed, 3 when nothing was proved.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segzoo.errors import EnvironmentFault, IntegrityError, NetworkError, SegzooError
from segzoo.evidence.climb import artifacts_of
from segzoo.manifest.artifact import Artifact, local
from segzoo.publishing.markdown import code, fenced
from segzoo.store.arrival import remote
from segzoo.store.http import Client, Patience
from segzoo.store.trouble import Trouble
from segzoo.text import in_bytes
from segzoo.vocabulary import RUNGS
from segzoo.zoo.likely_size import likely_size
from segzoo.zoo.zoo import Zoo, open_zoo

OUTCOMES = {0: "passed", NetworkError.exit_code: "not proved", EnvironmentFault.exit_code: "not proved"}
"""What an exit code of `segzoo verify` says of the entry; any other is `failed`, also where no address has the file."""


def size_of(artifact: Artifact, client: Client, base: Path) -> int | None:
    """The size that the first address names that answers; None where none does."""
    for mirror in artifact.urls:
        if remote(mirror.url):
            with suppress(Trouble):
                if (found := client.size(mirror.url)) is not None:
                    return found
        elif (path := local(mirror.url, base)).is_file():
            return path.stat().st_size
    return None


def prove(name: str, zoo: Sequence[str], verify: Sequence[str], receipts: Path) -> dict[str, Any]:
    """What `segzoo verify` says of one entry, in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "segzoo", *zoo, "verify", name, "--json", *verify]
    environment = {**os.environ, "SEGZOO_RECEIPTS": str(receipts), "SEGZOO_CONNECTIONS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = json.loads(done.stdout) if done.stdout.startswith("{") else {"result": None, "error": {"message": done.stderr[-2000:]}}
    checks = said["result"][0]["checks"] if said["result"] else []
    status = OUTCOMES.get(done.returncode, "failed")
    rungs = {check["rung"]: {"status": check["status"], "detail": check["detail"]} for check in checks}
    error = said["error"] and said["error"]["message"]
    receipt, seconds = said["result"][0] if said["result"] else None, time.perf_counter() - started
    return {"status": status, "exit_code": done.returncode, "error": error, "rungs": rungs, "seconds": seconds, "receipt": receipt}


def summary(records: Sequence[dict[str, Any]]) -> str:
    """The records as a table in Markdown, one line an entry and one column a rung, and why those that did not pass did not."""
    lines = [f"| entry | MB | {' | '.join(RUNGS)} | outcome |", "|---" * (len(RUNGS) + 3) + "|"]
    for record in records:
        marks = [record.get("rungs", {}).get(rung, {"status": ""})["status"] for rung in RUNGS]
        size, about = record["size"], record["estimated_size"]
        size = f"{size / 1e6:.1f}" if size is not None else f"~{about / 1e6:.1f}" if about is not None else "?"
        lines.append(f"| `{record['name']}` | {size} | {' | '.join(marks)} | {record['status']} |")
    counts = Counter(record["status"] for record in records)
    why = [f"\n{code(record['name'])}:\n\n{fenced(record['error'].splitlines(), 'text')}\n" for record in records if record.get("error")]
    return ", ".join(f"{count} {status}" for status, count in counts.most_common()) + "\n\n" + "\n".join(lines) + "\n" + "".join(why)


def complaint(record: dict[str, Any]) -> str:
    """The text of an issue about an entry that failed."""
    why, shown = (fenced(text.splitlines(), kind) for text, kind in ((record["error"], "text"), (json.dumps(record["receipt"], indent=2), "json")))
    return f"{code('segzoo verify ' + record['name'])} ends with {record['exit_code']}.\n\n{why}\n\nIts receipt:\n\n{shown}\n"


def write(records: Sequence[dict[str, Any]], folder: Path) -> None:
    """What was found so far, so that a run that is cut short leaves it."""
    bare = [{key: value for key, value in record.items() if key != "receipt"} for record in records]
    found = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "entries": bare}
    (folder / "proved.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    (folder / "summary.md").write_text(summary(records), encoding="utf-8")


def forget(zoo: Zoo, artifacts: Sequence[Artifact], room: int) -> None:
    """Remove an entry's files from the store, if what the store holds is larger than `room`."""
    here = [path for expectation in zoo.store.expectations(artifacts) if (path := zoo.store.stored(expectation.sha256)) is not None]
    if here and sum(path.stat().st_size for path in here[0].parent.iterdir()) > room:
        for path in here:
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="entries; by default all")
    parser.add_argument("--zoo", help="a manifest; by default the shipped zoo")
    parser.add_argument("--max-size", type=in_bytes, default=in_bytes("400MB"), help="leave out larger files [400MB]")
    parser.add_argument("--data", help="folder of the data set, if it is not in the store")
    parser.add_argument("--images", help="how many images, as of `segzoo verify`")
    parser.add_argument("--keep", type=in_bytes, default=0, help="leave files in the store up to this size in all [0]")
    parser.add_argument("-o", "--output", type=Path, default=Path("proved"), help="folder for what was found [proved]")
    given = parser.parse_args()

    zoo, client = open_zoo(given.zoo), Client(Patience(connect=5, head=10))
    option = ["--zoo", given.zoo] if given.zoo else []
    verify = ["--equivalents", *(["--data", given.data] if given.data else []), *(["--images", given.images] if given.images else [])]
    given.output.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for name in given.names or zoo.manifest.entries:
        entry = zoo.manifest.entries[name]
        record: dict[str, Any] = {"name": name, "file": entry.artifact.name, "size": entry.artifact.size, "estimated_size": likely_size(entry)}
        if record["size"] is None and (record["estimated_size"] or 0) <= given.max_size:
            record["size"] = size_of(entry.artifact, client, zoo.base)
        bound = record["estimated_size"] if record["size"] is None else record["size"]
        record["status"] = "size unknown" if bound is None else "too large"
        if bound is not None and bound <= given.max_size:
            record |= prove(name, option, verify, given.output / "receipts")
        records.append(record)
        print(f"{name:<28} {record['status']}", flush=True)
        if record["status"] == "failed":
            (given.output / "failed").mkdir(exist_ok=True)
            (given.output / "failed" / f"{name}.md").write_text(complaint(record), encoding="utf-8")
        write(records, given.output)
        forget(zoo, artifacts_of(entry, equivalents=True), given.keep)
    print("\n" + summary(records).partition("\n")[0])
    outcomes = {record["status"] for record in records}
    return IntegrityError.exit_code if "failed" in outcomes else 0 if "passed" in outcomes else NetworkError.exit_code


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SegzooError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
