"""Connect to SQLite, PostgreSQL and DuckDB, and say what each needs differently."""

from __future__ import annotations

import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

with suppress(ImportError):  # only the node of databases needs them
    import psycopg
with suppress(ImportError):
    import duckdb

ROWS = 50_000
"""Rows that are fetched at once."""

LATEST = 253_370_764_800.0
"""UNIX time of the year 9999, after which databases know no time."""


class Database:
    """A database: how it is connected to, and how it says what is needed."""

    floor = "floor({})"
    number = (
        "case when cast({0} as double precision) between -1.7976931348623157e308"
        " and 1.7976931348623157e308 then cast({0} as double precision) end"
    )
    """A finite number, or null."""
    time = {"number": "cast({} as double precision)"}
    """Seconds since 1970 of a column, by what its values are in Python."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def connect(self) -> Any:
        """Connect anew, to read only."""

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Return a cursor of a connection for one query."""
        connection = self.connect()
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[list[Any]]:
        """Yield the rows of a query, many at once; its values are written as ``?``."""
        with self.cursor() as cursor:
            cursor.execute(query, values)
            while rows := cursor.fetchmany(ROWS):
                yield rows

    def columns(self, query: str, count: int) -> tuple[list[str], list[Any]]:
        """Return the names of a query's columns, and some of its rows."""
        with self.cursor() as cursor:
            cursor.execute(f"select * from ({query}) as q limit {count}")
            return [column[0] for column in cursor.description], cursor.fetchall()

    def boundary(self, t: float, kind: str) -> Any:
        """Return a value, to which a column of times can be compared, if that may use an index."""
        return t if kind == "number" else None


class SQLite(Database):
    """A file of SQLite."""

    # Before 1970 a cast rounds up.
    floor = "(cast({0} as integer) - ({0} < cast({0} as integer)))"
    number = (
        "case when typeof({0}) in ('integer', 'real') and {0} between -1.7976931348623157e308"
        " and 1.7976931348623157e308 then cast({0} as real) end"
    )
    time = {
        "number": "cast({} as real)",
        "text": "round(strftime('%s', {0}) + strftime('%f', {0}) - strftime('%S', {0}), 3)",
    }

    def connect(self) -> Any:
        """Open the file, which another process may write."""
        uri = f"{Path(self.where).absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=5, check_same_thread=False)

    def boundary(self, t: float, kind: str) -> Any:
        """Return also the text of a day."""
        if kind == "text":
            return str(np.datetime64(int(t), "s"))[:10]
        return super().boundary(t, kind)


class DuckDB(Database):
    """A file of DuckDB, which is open only while it is asked, for others to write it."""

    time = {**Database.time, "naive": "epoch_us({}) / 1e6", "aware": "epoch_us({}) / 1e6"}

    def connect(self) -> Any:
        """Open the file."""
        return duckdb.connect(
            self.where, read_only=True, config={"memory_limit": "128MB", "threads": 2}
        )

    def boundary(self, t: float, kind: str) -> Any:
        """Return also a time."""
        if kind == "naive":
            return np.datetime64(int(t), "s").astype(object)
        return super().boundary(t, kind)


class PostgreSQL(Database):
    """A server of PostgreSQL, with connections that are used again."""

    time = {
        **Database.time,
        "naive": "cast(extract(epoch from {}) as double precision)",
        "aware": "cast(extract(epoch from {}) as double precision)",
    }

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def connect(self) -> Any:
        """Connect to the server."""
        options = "-c default_transaction_read_only=on -c timezone=UTC"
        return psycopg.connect(self.where, options=options, connect_timeout=5)

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Return a cursor that fetches from the server, of a connection that still works."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is not None:
                connection.execute("select 1")
        except psycopg.Error:
            connection = None
        connection = connection or self.connect()
        try:
            with connection.cursor("sisock") as cursor:
                yield cursor
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[list[Any]]:
        """Write values as psycopg does."""
        return super().rows(query.replace("%", "%%").replace("?", "%s"), values)

    def boundary(self, t: float, kind: str) -> Any:
        """Return also a time."""
        if kind == "number":
            return t
        return str(np.datetime64(int(t), "s")) + ("Z" if kind == "aware" else "")


def open_database(url: str) -> Database:
    """Return the database of ``sqlite:PATH``, ``duckdb:PATH`` or ``postgresql://...``."""
    scheme, _, path = url.partition(":")
    if scheme in ("postgres", "postgresql"):
        return PostgreSQL(url)
    if path and scheme in ("sqlite", "duckdb"):
        return SQLite(path) if scheme == "sqlite" else DuckDB(path)
    raise ValueError(f"{url!r} is none of sqlite:PATH, duckdb:PATH and postgresql://HOST/NAME")


def quote(name: str) -> str:
    """Return the name of a column as all of them write it."""
    return '"' + name.replace('"', '""') + '"'
