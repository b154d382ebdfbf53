"""The page of a catalogue: files by family and status, seconds against size, the index's accuracies, what stands out, what disagrees."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from segzoo.atomic import replacing
from segzoo.publishing.report import plots
from segzoo.publishing.report.make import Files
from segzoo.publishing.report.page import Picture, rendered
from segzoo.scale.catalogue import opened
from segzoo.scale.database import select
from segzoo.scale.place import Place

_MOST = 40  # lines of a list
_POINTS = 2000  # of a plot; more are a sample, by a hash of the key, so that the page stays small
_NUMBERS = "sum(seconds) FILTER (rung = 'numbers') OVER (PARTITION BY key)"  # climbed for the first file of a kind only
_FILES = f"(SELECT DISTINCT ON (key) *, file_seconds - coalesce({_NUMBERS}, 0) AS work_seconds FROM files)"
_SLOW = 3.0  # times the median of its family, in seconds a byte

_COUNTS = f"""SELECT name, count(*) AS files, count(*) FILTER (file_status = 'passed') AS passed, count(*) FILTER (file_status <> 'passed') AS failed,
  sum(size)::BIGINT AS bytes, sum(file_seconds) AS seconds FROM {_FILES} GROUP BY name ORDER BY name"""
_RUNGS = """SELECT rung, count(*) AS files, count(*) FILTER (status = 'passed') AS passed, count(*) FILTER (status = 'failed') AS failed,
  count(*) FILTER (status NOT IN ('passed', 'failed')) AS other, sum(seconds) AS seconds FROM files GROUP BY rung ORDER BY min(seconds), rung"""
_FAILED = f"SELECT key, rung, code, detail FROM files WHERE status = 'failed' ORDER BY code, key LIMIT {_MOST}"
_OUTLIERS = f"""WITH work AS (SELECT key, any_value(name) AS name, any_value(size) AS size, sum(seconds) FILTER (rung <> 'numbers') AS seconds
    FROM files WHERE size > 0 AND file_status = 'passed' GROUP BY key),
  pace AS (SELECT *, seconds / size AS pace, median(seconds / size) OVER (PARTITION BY name) AS usual FROM work)
  SELECT key, size, seconds, pace / usual AS times FROM pace WHERE usual > 0 AND pace > {_SLOW} * usual ORDER BY times DESC, key LIMIT {_MOST}"""
_DISAGREE = f"""SELECT key, params, index_params FROM {_FILES}
  WHERE params IS NOT NULL AND index_params IS NOT NULL AND abs(params - index_params) > 10000 ORDER BY key LIMIT {_MOST}"""


@dataclass(frozen=True)
class Page:
    """What the page of a catalogue shows."""

    counts: list[dict[str, Any]]
    rungs: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    outliers: list[dict[str, Any]]
    disagree: list[dict[str, Any]]
    pictures: list[Picture]


def gather(place: Place) -> Page:
    """The facts of a catalogue. Raises IntegrityError where it is none."""
    with opened(place) as connection:
        counts, rungs, failed, outliers, disagree = (select(connection, sql) for sql in (_COUNTS, _RUNGS, _FAILED, _OUTLIERS, _DISAGREE))
        pictures = [
            _scattered(
                connection,
                "seconds",
                "size / 1e6",
                "work_seconds",
                "size, MB",
                "seconds",
                "Seconds of a file against its size, by family, without the numbers rung; measured here.",
            ),
            _scattered(
                connection,
                "params",
                "params / 1e6",
                "adapt_final_val",
                "parameters, millions (counted in the tensors)",
                "validation accuracy (the index's)",
                "The index's accuracy on its own validation images against parameters; not a measurement of segzoo.",
                by="adapt_ds",
            ),
            _scattered(
                connection,
                "speed",
                "index_images_per_sec",
                "adapt_final_val",
                "images a second on a V100 (the index's)",
                "validation accuracy (the index's)",
                "The index's accuracy against the index's images a second; not a measurement of segzoo.",
                by="adapt_ds",
            ),
        ]
    return Page(counts, rungs, failed, outliers, disagree, [picture for picture in pictures if picture])


def _scattered(connection: duckdb.DuckDBPyConnection, file: str, x: str, y: str, across: str, up: str, alt: str, by: str = "name") -> Picture | None:
    source = f"{_FILES} WHERE {x} > 0 AND {y} IS NOT NULL AND {by} IS NOT NULL ORDER BY hash(key) LIMIT {_POINTS}"
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in select(connection, f"SELECT {by} AS label, {x} AS x, {y} AS y FROM {source}"):
        groups.setdefault(str(row["label"]), []).append((float(row["x"]), float(row["y"])))
    drawn = plots.scattered(dict(sorted(groups.items())), across, up)
    return Picture(f"{file}.svg", alt, drawn) if drawn else None


def write(place: Place, plan: Mapping[str, Any], folder: Path) -> tuple[Files, Page]:
    """Write the page of a run's catalogue as HTML and as Markdown. `plan` are facts of the plan to show."""
    page = gather(place)
    html, markdown = rendered(
        "catalogue", {"page": page, "plan": plan, "label": place.address.rstrip("/").rpartition("/")[2], "slow": _SLOW, "most": _MOST}, plots.themed
    )
    for picture in page.pictures:
        with replacing(folder / "pictures" / picture.file) as part:
            part.write_bytes(plots.plain(picture.svg or "").encode())
    files = Files(folder / "index.html", folder / "report.md")
    for path, text in ((files.markdown, markdown), (files.html, html)):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    return files, page
