"""The index of the AugReg release: which files there are, how each was trained, and what its authors measured.

Its columns are those of `vit_jax_augreg.ipynb` in google-research/vision_transformer at c6de1e5. The key is `adapt_filename`: the order of the rows
changed in 2021.
An index is read strictly. One with other columns, or a row whose file name and columns disagree, would choose wrong files without a word.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from segzoo.errors import IntegrityError, NotFoundError
from segzoo.regular import NotRegular, chunks, no_file, open_regular
from segzoo.scale.database import as_pattern, database, reading, seal
from segzoo.text import brief, listed

_TEXTS = ("name", "ds", "aug", "adapt_ds", "filename", "adapt_filename")
_SHARES = ("best_val", "final_val", "final_test", "adapt_final_val", "adapt_final_test")
_WHOLE = ("adapt_steps", "adapt_resolution")
COLUMNS = (
    *("name", "ds", "epochs", "lr", "aug", "wd", "do", "sd", "best_val", "final_val", "final_test", "adapt_ds", "adapt_lr", "adapt_steps"),
    *("adapt_resolution", "adapt_final_val", "adapt_final_test", "params", "infer_samples_per_sec", "filename", "adapt_filename"),
)
"""The columns of the index, in the order of the release."""
UPSTREAM = tuple(column for column in COLUMNS if not column.startswith("adapt_") and column != "infer_samples_per_sec")
"""The columns that say something of the pretrained file, which several rows share."""
CLOSED = ("name", "ds", "epochs", "lr", "aug", "wd", "do", "sd", "adapt_ds", "adapt_lr", "adapt_steps", "adapt_resolution", "kind")
"""The columns with few values: asking for another value is a slip."""
_LARGEST = 1 << 27  # bytes; the release's index has some 16 MB
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,195}")
_NAMED = re.compile(
    r"(?P<model>[A-Za-z0-9_]+)-(?P<ds>[a-z0-9_]+)-(?P<epochs>\d+)ep-lr_(?P<lr>[\d.e-]+)-aug_(?P<aug>[a-z0-9]+)"
    r"-wd_(?P<wd>[\d.]+)-do_(?P<do>[\d.]+)-sd_(?P<sd>[\d.]+)"
    r"--(?P<adapt_ds>[a-z0-9_]+)-steps_(?P<thousands>\d+)k-lr_(?P<adapt_lr>[\d.e-]+)-res_(?P<adapt_resolution>\d+)"
)


@contextmanager
def open_index(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The index as the sealed table `files`: a row a file, the finetuned ones and, once each, the pretrained ones that they come from.

    `file` is the name without `.npz`, `kind` is one of RELEASED; what is empty or NaN is NULL.
    Raises NotFoundError, and IntegrityError for what is not this index; the message names the line.
    """
    _refuse(path)
    with database() as connection:
        _read(connection, path)
        _check_columns(connection, path)
        _check_values(connection, path)
        _check_names(connection, path)
        _make_files(connection, path)
        seal(connection)
        yield connection


def digest_of_index(path: Path) -> str:
    """The sha256 of an index. Raises NotFoundError."""
    _refuse(path)
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for chunk in chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _refuse(path: Path) -> None:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such index", hint="segzoo augreg query without --index fetches that of the release") from error
    except NotRegular as error:
        raise no_file(path) or NotFoundError(f"{path}: {error.strerror}") from error
    if size > _LARGEST:
        raise IntegrityError(f"{path}: expected an index of at most {_LARGEST:,} bytes, found {size:,}")


def _read(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """All cells as text, with the line that each row stands on."""
    with open_regular(path) as file:
        parquet = file.read(4) == b"PAR1"
    first, source = 1, "read_parquet(?)"
    if not parquet:
        first, source = (
            2,
            "read_csv(?, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', compression = 'none', comment = '')",
        )
    with reading(path, "an index in CSV or Parquet"):
        connection.execute(f"CREATE TABLE cells AS SELECT row_number() OVER () + {first - 1} AS line, * FROM {source}", [as_pattern(path)])


def _check_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    found = [column[0] for column in connection.execute("SELECT * FROM cells LIMIT 0").description or []][1:]
    if set(found) != set(COLUMNS):
        lacking, beyond = [one for one in COLUMNS if one not in found], [one for one in found if one not in COLUMNS]
        said = [f"lacks {listed(lacking)}"] * bool(lacking) + [f"has {listed([brief(one, 60) for one in beyond])} beyond them"] * bool(beyond)
        raise IntegrityError(f"{path}: not the index of the AugReg release: of its {len(COLUMNS)} columns it {' and '.join(said)}")
    cells = ", ".join(f"nullif(nullif(nullif(\"{one}\"::VARCHAR, ''), 'nan'), 'NaN') AS \"{one}\"" for one in COLUMNS)
    connection.execute(f"CREATE TABLE texts AS SELECT line, {cells} FROM cells")
    connection.execute("DROP TABLE cells")


def _check_values(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises IntegrityError for the first cell that is not what its column holds."""
    number = 'try_cast("{0}" AS DOUBLE) IS NULL OR NOT isfinite(try_cast("{0}" AS DOUBLE))'
    rules = {column: (number.format(column), "a number") for column in COLUMNS if column not in _TEXTS}
    rules |= {column: (f'{number.format(column)} OR "{column}"::DOUBLE NOT BETWEEN 0 AND 1', "a share from 0 to 1") for column in _SHARES}
    rules |= {
        column: (f'{number.format(column)} OR "{column}"::DOUBLE NOT BETWEEN 1 AND 1000000 OR "{column}"::DOUBLE % 1 <> 0', "a whole number")
        for column in _WHOLE
    }
    for column, (wrong, expected) in rules.items():
        found = connection.execute(f'SELECT line, "{column}" FROM texts WHERE "{column}" IS NOT NULL AND ({wrong}) LIMIT 1').fetchone()
        if found:
            raise IntegrityError(f"{path}:{found[0]}: {column}: expected {expected}, found '{brief(found[1], 80)}'")
    for column in (*_TEXTS, *_WHOLE):
        if found := connection.execute(f'SELECT line FROM texts WHERE "{column}" IS NULL LIMIT 1').fetchone():
            raise IntegrityError(f"{path}:{found[0]}: {column}: expected a value, found none")
    twice = connection.execute(
        "SELECT max(line), adapt_filename FROM texts GROUP BY adapt_filename HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchone()
    if twice:
        raise IntegrityError(f"{path}:{twice[0]}: adapt_filename: '{brief(twice[1], 200)}' is there twice, and it is the key")
    if not connection.execute("SELECT count(*) FROM texts").fetchall()[0][0]:
        raise IntegrityError(f"{path}: an index without rows")


def _check_names(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises IntegrityError for the first row whose file name and columns disagree."""
    rows = connection.execute(f"SELECT line, {', '.join(map(_quoted, COLUMNS))} FROM texts ORDER BY line")
    while some := rows.fetchmany(4096):
        for line, *cells in some:
            if wrong := disagreement(dict(zip(COLUMNS, cells, strict=True))):
                raise IntegrityError(f"{path}:{line}: {wrong}", hint="the index is damaged or was changed: file names would stand for other files")


def disagreement(row: Mapping[str, str]) -> str | None:
    """How the file names of a row and its columns disagree; None where they agree.

    How the names of `i21k_30` spell their data and epochs is not known, so these two are not compared there.
    """
    file, upstream = row["adapt_filename"], row["filename"]
    for column in ("filename", "adapt_filename"):
        if not _FILE.fullmatch(row[column]):
            raise IntegrityError(f"{column}: '{brief(row[column], 200)}' is no name of a file of the release")
    found = _NAMED.fullmatch(file)
    if not found or not file.startswith(f"{upstream}--"):
        return f"adapt_filename: '{file}' is not built as names of the release are, from filename '{upstream}'"
    said: dict[str, Any] = found.groupdict()
    if said["model"] != re.sub("[/+]", "_", row["name"]):
        return f"name is '{brief(row['name'], 40)}', the file name says {said['model']}"
    thousands = int(float(row["adapt_steps"])) // 1000
    if thousands != int(said["thousands"]):
        return f"adapt_steps is {row['adapt_steps']}, the file name says {said['thousands']} thousand"
    texts, numbers = ["aug", "adapt_ds"], ["lr", "wd", "do", "sd", "adapt_lr", "adapt_resolution"]
    if row["ds"] != "i21k_30":
        texts, numbers = ["ds", *texts], ["epochs", *numbers]
    for column in texts:
        if row[column] != said[column]:
            return f"{column} is '{brief(row[column], 40)}', the file name says {said[column]}"
    for column in numbers:
        if row[column] is not None and abs(float(row[column]) - float(said[column])) > 1e-9:
            return f"{column} is {row[column]}, the file name says {said[column]}"
    return None


def _make_files(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """The table `files`, from rows that were checked. Raises IntegrityError where rows say different things of one pretrained file."""
    kinds = {column: "VARCHAR" for column in _TEXTS} | {column: "BIGINT" for column in _WHOLE}
    typed = ", ".join(
        f'"{one}"::DOUBLE::BIGINT AS "{one}"' if one in _WHOLE else f'"{one}"::{kinds.get(one, "DOUBLE")} AS "{one}"' for one in COLUMNS
    )
    connection.execute(f"CREATE TABLE finetuned AS SELECT line, {typed} FROM texts")
    connection.execute("DROP TABLE texts")
    for column in UPSTREAM:
        same = f'SELECT max(line), filename FROM finetuned GROUP BY filename HAVING count(DISTINCT "{column}") > 1 ORDER BY 1 LIMIT 1'
        if found := connection.execute(same).fetchone():
            raise IntegrityError(f"{path}:{found[0]}: {column}: another value than in other rows of {found[1]}")
    once = ", ".join(f'max("{one}") AS "{one}"' if one in UPSTREAM and one != "filename" else f'"{one}"' for one in UPSTREAM)
    connection.execute(
        "CREATE TABLE files AS SELECT adapt_filename AS file, 'finetuned' AS kind, * EXCLUDE (line) FROM finetuned"
        f" UNION ALL BY NAME SELECT filename AS file, 'pretrained' AS kind, {once} FROM finetuned GROUP BY filename"
    )
    connection.execute("DROP TABLE finetuned")


def _quoted(column: str) -> str:
    return f'"{column}"'
