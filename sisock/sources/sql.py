"""Query SQLite, PostgreSQL and DuckDB for samples, and for the extremes of buckets."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

with suppress(ImportError):  # only the SQL node needs them
    import psycopg
with suppress(ImportError):
    import duckdb

ROWS = 50_000  # rows that are fetched at once
LATEST = 253_370_764_800.0  # UNIX time in the year 9999, the last that databases know

Given: TypeAlias = Callable[[float, float], tuple[Any, ...]]
"""Returns a query's parameters for an interval."""

Extremes: TypeAlias = tuple[float, Any, Any, float, float]
"""First time, smallest and largest value of a bucket, and the first time of each extreme."""


class Database:
    """Connect to a database, and query it in its dialect of SQL."""

    is_shared = True
    """Whether other programs can write to it while it is open."""

    floor = "floor({})"
    number = (
        "case when cast({0} as double precision) between -1.7976931348623157e308"
        " and 1.7976931348623157e308 then cast({0} as double precision) end"
    )
    """Expression for a finite number, or null."""
    time = {"number": "cast({} as double precision)"}
    """Expression for a column's seconds since 1970, by `kind_of_time` of its values."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def connect(self) -> Any:
        """Return a new, read-only connection."""

    @contextmanager
    def cursor(self, is_long: bool = False) -> Iterator[Any]:
        """Give a cursor for one query; `is_long` says that its result is long."""
        connection = self.connect()
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def rows(
        self, query: str, values: tuple[Any, ...] = (), is_long: bool = False
    ) -> Iterator[list[Any]]:
        """Yield the rows of a query, many at once; ``?`` stands for a parameter."""
        with self.cursor(is_long) as cursor:
            cursor.execute(query, values)
            while rows := cursor.fetchmany(ROWS):
                yield rows

    def extremes(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Yield the extremes of each bucket, in two queries: one for values, one for times.

        `samples` defines ``s`` with columns t and v, with the parameters that `given` returns;
        `v` is the expression to compare.
        """
        values = given(*interval)
        bucket = self.floor.format(f"(t / {number(w)})")
        found: dict[float, list[Any]] = {}
        query = f"with {samples} select {bucket} as i, min(t), min({v}), max({v}) from s group by 1"
        for rows in self.rows(query, values):
            found |= {i: rest for i, *rest in rows}
        yield from ((t, None, None, t, t) for t, low, _ in found.values() if low is None)
        # Written as constants, so that the database knows how few there are.
        known = [(i, value) for i, (_, *both) in found.items() for value in {*both} - {None}]
        if not known:
            return
        constants = ", ".join(f"({n}, {number(i)}, {number(x)})" for n, (i, x) in enumerate(known))
        query = (
            f"with {samples}, g (n, i, x) as (values {constants}) select g.n, min(t)"
            # A cross join: otherwise SQLite would read all rows for each bucket.
            f" from s cross join g where {bucket} = g.i and {v} = g.x group by g.n"
        )
        at = {known[n]: t for rows in self.rows(query, values) for n, t in rows}
        for i, (t, low, high) in found.items():
            if low is not None:
                # The row may have changed since the first query.
                yield t, low, high, at.get((i, low), t), at.get((i, high), t)

    def columns(self, query: str, count: int) -> tuple[list[str], list[Any]]:
        """Return the names of a query's columns, and some of its rows."""
        with self.cursor() as cursor:
            cursor.execute(f"select * from ({query}) as q limit {count}")
            return [column[0] for column in cursor.description], cursor.fetchall()

    def boundary(self, t: float, kind: str) -> Any:
        """Return a time in the type of a column, if a comparison may use an index, or None."""
        return t if kind == "number" else None


class SQLite(Database):
    """Query an SQLite file."""

    # A cast rounds negative numbers up.
    floor = "(cast({0} as integer) - ({0} < cast({0} as integer)))"
    # In SQLite, a text is greater than any number.
    number = "case when {0} between -1.7976931348623157e308 and 1.7976931348623157e308 then {0} end"
    time = {
        "number": "{}",
        "text": "round(strftime('%s', {0}) + strftime('%f', {0}) - strftime('%S', {0}), 3)",
    }

    def connect(self) -> Any:
        """Open the file read-only; another process may write it."""
        uri = f"{Path(self.where).absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=5, check_same_thread=False)

    def extremes(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Query bucket by bucket if the times have an index; that avoids grouping."""
        what = f"with {samples} select min(t), min({v}), max({v}) from s"
        where = (
            f"with {samples} select min(case when {v} = ? then t end),"
            f" min(case when {v} = ? then t end) from s"
        )
        with self.cursor() as cursor:
            cursor.execute(f"explain query plan {what}", given(*interval))
            if not any("SEARCH" in row[3] and ">?" in row[3] for row in cursor):
                yield from super().extremes(samples, given, v, w, interval)
                return
            first, last = (math.floor(t / w) for t in interval)
            for i in range(first, last + 1):
                values = given(max(i * w, interval[0]), min((i + 1) * w, interval[1]))
                t, low, high = cursor.execute(what, values).fetchone()
                if low is not None:
                    places = cursor.execute(where, (*values, low, high)).fetchone()
                    yield t, low, high, *(t if place is None else place for place in places)
                elif t is not None:
                    yield t, None, None, t, t

    def boundary(self, t: float, kind: str) -> Any:
        """Return a day as a text, too."""
        if kind == "text":
            return str(np.datetime64(int(t), "s"))[:10]
        return super().boundary(t, kind)


class DuckDB(Database):
    """Query a DuckDB file, open only during a query, so that others can write it."""

    is_shared = False
    time = {**Database.time, "naive": "epoch_us({}) / 1e6", "aware": "epoch_us({}) / 1e6"}

    def connect(self) -> Any:
        """Open the file."""
        return duckdb.connect(
            self.where, read_only=True, config={"memory_limit": "128MB", "threads": 2}
        )

    def boundary(self, t: float, kind: str) -> Any:
        """Return a date and time, too."""
        if kind == "naive":
            return np.datetime64(int(t), "s").astype(object)
        return super().boundary(t, kind)


class PostgreSQL(Database):
    """Query a PostgreSQL server, over connections that are used again."""

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
        options = "-c default_transaction_read_only=on -c timezone=UTC -c jit=off"
        return psycopg.connect(self.where, options=options, connect_timeout=5)

    @contextmanager
    def cursor(self, is_long: bool = False) -> Iterator[Any]:
        """Give a cursor of a working connection; it fetches a long result in parts."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is not None:
                connection.execute("select 1")
        except psycopg.Error:
            connection = None
        connection = connection or self.connect()
        try:
            # A cursor that fetches in parts gets no parallel workers.
            with connection.cursor("sisock" if is_long else "") as cursor:
                yield cursor
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    def rows(
        self, query: str, values: tuple[Any, ...] = (), is_long: bool = False
    ) -> Iterator[list[Any]]:
        """Yield the rows of a query, with its parameters written as psycopg does."""
        return super().rows(query.replace("%", "%%").replace("?", "%s"), values, is_long)

    def boundary(self, t: float, kind: str) -> Any:
        """Return a date and time, too."""
        if kind == "number":
            return t
        return str(np.datetime64(int(t), "s")) + ("Z" if kind == "aware" else "")


def open_database(url: str) -> Database:
    """Return the database of ``sqlite:PATH``, ``duckdb:PATH`` or ``postgresql://...``."""
    scheme, _, path = url.partition(":")
    if scheme in ("postgres", "postgresql"):
        if re.search(r"//[^/@]*:[^/]*@|[?&]password=", url):
            why = "every user of this computer sees the password in the command: put it"
            raise ValueError(f"{why} into PGPASSWORD instead")
        return PostgreSQL(url)
    if path and scheme in ("sqlite", "duckdb"):
        return SQLite(path) if scheme == "sqlite" else DuckDB(path)
    kinds = "sqlite:PATH, duckdb:PATH and postgresql://HOST/NAME"
    raise ValueError(f"{scheme!r} begins none of {kinds}")  # the rest may contain a password


def number(value: float) -> str:
    """Return a 64-bit float as a literal that all databases understand."""
    return f"{float(value):.16e}"


def quote(name: str) -> str:
    """Quote the name of a column, as all databases understand it."""
    return '"' + name.replace('"', '""') + '"'
