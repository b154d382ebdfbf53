"""The catalogue of a run: all rows in one Parquet file, a row a file and rung, that DuckDB, pandas and polars open as it is."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import duckdb

from segzoo.atomic import replacing
from segzoo.scale import rows
from segzoo.scale.database import as_pattern, database, reading, seal, select
from segzoo.scale.place import Place
from segzoo.scale.plan import Item, Plan

NAME = "catalogue.parquet"
COLUMNS = {
    "key": "VARCHAR",
    "name": "VARCHAR",
    "file": "VARCHAR",
    "rung": "VARCHAR",
    "status": "VARCHAR",
    "code": "INTEGER",
    "short": "VARCHAR",
    "detail": "VARCHAR",
    "seconds": "DOUBLE",
    "file_status": "VARCHAR",
    "sha256": "VARCHAR",
    "size": "BIGINT",
    "layout": "VARCHAR",
    "geometry": "VARCHAR",
    "dtype": "VARCHAR",
    "tensors": "INTEGER",
    "params": "BIGINT",
    "converted_sha256": "VARCHAR",
    "converted_size": "BIGINT",
    "figures": "VARCHAR",
    "miou": "DOUBLE",
    "attempts": "INTEGER",
    "file_seconds": "DOUBLE",
    "fetch_seconds": "DOUBLE",
    "received": "BIGINT",
    "memory": "BIGINT",
    "machine": "VARCHAR",
    "device": "VARCHAR",
    "time": "TIMESTAMP",
    "segzoo": "VARCHAR",
    "python": "VARCHAR",
    "numpy": "VARCHAR",
    "torch": "VARCHAR",
    "jax": "VARCHAR",
    "kind": "VARCHAR",
    "ds": "VARCHAR",
    "adapt_ds": "VARCHAR",
    "adapt_resolution": "INTEGER",
    "final_val": "DOUBLE",
    "final_test": "DOUBLE",
    "adapt_final_val": "DOUBLE",
    "adapt_final_test": "DOUBLE",
    "expected_params": "BIGINT",
    "index_params": "DOUBLE",
    "index_images_per_sec": "DOUBLE",
}
"""What each column holds, as DuckDB has it. `figures` are the facts of a rung as JSON. All accuracies, and what begins with `index_`, are the
index's words, not measurements of segzoo.
"""


def records(item: Item, row: rows.Row) -> Iterator[dict[str, Any]]:
    """A file's rows in the catalogue, one for each rung that was climbed."""
    versions, converted = row["versions"], row.get("converted") or {}
    common = {name: row.get(name) for name in ("key", "name", "file", "sha256", "size", "layout", "geometry", "dtype", "tensors", "params")}
    common |= {name: row.get(name) for name in ("attempts", "fetch_seconds", "received", "memory", "machine", "device")}
    common |= {"file_status": row["status"], "file_seconds": row["seconds"], "time": _utc(row["time"])}
    common |= {"converted_sha256": converted.get("sha256"), "converted_size": converted.get("size")}
    common |= {name: versions.get(name) for name in ("segzoo", "python", "numpy", "torch", "jax")}
    common |= {name: item.facts.get(name) for name in COLUMNS if name in item.facts}
    for check in row["checks"]:
        facts = check["facts"]
        said = {name: check[name] for name in ("rung", "status", "code", "short", "detail", "seconds")}
        miou = next((mode["measured"]["mIoU"] for mode in facts.get("modes", {}).values() if "measured" in mode), None)
        yield {**common, **said, "miou": miou, "figures": json.dumps(_figures(facts), ensure_ascii=False)}


def _utc(time: str) -> str:
    return time.removesuffix("+00:00")


def _figures(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of a rung without counts of single images and pixels, which the receipt has."""
    modes = {name: {one: mode.get(one) for one in ("reported", "measured", "verdict")} for name, mode in facts.get("modes", {}).items()}
    return {**facts, "modes": modes} if modes else facts


def compact(plan: Plan, place: Place) -> tuple[Path | None, int]:
    """Write the catalogue of all rows that there are, beside them, and give its path on this machine, None where it is elsewhere, and its rows.

    Raises IntegrityError for rows that are not this plan's, EnvironmentFault where it cannot be written.
    """
    if (path := _current(plan, place)) is not None:
        with database() as connection, reading(path, "a catalogue"):
            return path, int(connection.execute("SELECT count(*) FROM read_parquet(?)", [as_pattern(path)]).fetchall()[0][0])
    items = {item.key: item for item in plan.items}
    with tempfile.TemporaryDirectory(prefix="segzoo-") as scratch:
        lines, made = Path(scratch) / "rows.jsonl", Path(scratch) / NAME
        with lines.open("w", encoding="utf-8") as file:
            count = sum(_write(file, items[row["key"]], row) for row in rows.each(place, plan))
        with database() as connection:
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
            source = f"read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}}, maximum_object_size = 67108864)"
            connection.execute(f"COPY (SELECT * FROM {source} ORDER BY name, key) TO '{made}' (FORMAT parquet, COMPRESSION zstd)")
        if place.folder is None:
            place.write(NAME, made.read_bytes())
            return None, count
        with replacing(place.folder / NAME) as part:
            part.write_bytes(made.read_bytes())
        return place.folder / NAME, count


def _current(plan: Plan, place: Place) -> Path | None:
    """The catalogue, if it is on this machine and no row is as new; a row that is written again is a new file."""
    if place.folder is None or not (path := place.folder / NAME).is_file():
        return None
    made = path.stat().st_mtime_ns
    changed = (place.folder / name for name in place.names(rows.folder_of(plan.digest)))
    return path if all(one.stat().st_mtime_ns < made for one in changed) else None


def _write(file: IO[str], item: Item, row: rows.Row) -> int:
    found = list(records(item, row))
    for record in found:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return len(found)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """The catalogue of a run as the table `files`, in a sealed database. Raises IntegrityError for what is no catalogue."""
    with tempfile.TemporaryDirectory(prefix="segzoo-") as scratch, database() as connection:
        path = place.folder / NAME if place.folder else Path(scratch) / NAME
        if place.folder is None:
            path.write_bytes(place.read(NAME) or b"")
        with reading(path, "a catalogue"):
            connection.execute("CREATE TABLE files AS SELECT * FROM read_parquet(?)", [as_pattern(path)])
        seal(connection)
        yield connection


def ask(place: Place, sql: str) -> list[dict[str, Any]]:
    """The rows that a SELECT over `files` gives. Raises UsageError."""
    with opened(place) as connection:
        return select(connection, sql)
