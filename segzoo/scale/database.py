"""DuckDB, sealed: what a person or a stranger writes in SQL reads the tables that are in it, and nothing else.

A query opens no file, loads no extension, uses no network, sees no Python variable and changes no setting. It has bounded memory and time.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from segzoo.errors import EnvironmentFault, IntegrityError, UsageError
from segzoo.text import legible

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # else a table's name may be that of a Python variable
    "memory_limit": "1GB",
    "temp_directory": "",  # a large query is refused, not written to a disk
    "threads": 2,
}
_LONGEST = 60  # seconds of a query


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory. It may read files until it is sealed."""
    with duckdb.connect(":memory:", config=_SETTINGS) as connection:
        yield connection


def seal(connection: duckdb.DuckDBPyConnection) -> None:
    """From now on the database reads and writes no file, and no query can change that."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def as_pattern(path: Path) -> str:
    """A path as DuckDB's readers take it, which read a name with `*`, `?` or `[` as a pattern."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path.absolute()))


def select(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = (), *, what: str = "query") -> list[dict[str, Any]]:
    """The rows of a SELECT as dicts. Raises UsageError for what is no SELECT that DuckDB understands, in its words and with the place."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError(f"{what}: expected one SELECT, found {_found(statements)}", hint="a query reads; nothing in it may write")
        with _within(connection):
            connection.execute(statements[0], list(parameters) or None)
            names = [column[0] for column in connection.description or []]
            return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]
    except duckdb.InterruptException as error:
        raise UsageError(f"{what}: took more than {_LONGEST} s", hint="ask for less") from error
    except duckdb.OutOfMemoryException as error:
        raise EnvironmentFault(f"{what}: needs more than 1 GB of memory", hint="ask for less, or open the catalogue with DuckDB itself") from error
    except duckdb.Error as error:
        lines = [legible(line) for line in str(error).split("\n") if line.strip()]
        raise UsageError(f"{what}: {lines[0]}", below=lines[1:]) from error


def _found(statements: Sequence[Any]) -> str:
    return f"{len(statements)} statements" if len(statements) != 1 else f"a statement of type {statements[0].type.name}"


@contextmanager
def _within(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupts a query that takes too long."""
    timer = threading.Timer(_LONGEST, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns DuckDB's errors about a file into IntegrityError that names it."""
    try:
        yield
    except duckdb.Error as error:
        lines = [legible(line) for line in str(error).split("\n") if line.strip()]
        raise IntegrityError(f"{path}: not {what}: {lines[0]}", below=lines[1:4]) from error
