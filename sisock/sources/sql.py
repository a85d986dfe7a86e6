"""Ask SQLite, PostgreSQL and DuckDB for samples, decimated by the database itself."""

from __future__ import annotations

import math
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples, join

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

    is_shared = True
    """Whether others can write while it is read."""

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

    is_shared = False
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


class Column:
    """A field of a query: its times and values, as the database can say them.

    `time` is the column of the times, of a `kind` and in units of so many seconds; `chosen` is a
    condition and its value, where a column says of which field a row is.
    """

    is_placed = False

    def __init__(
        self,
        database: Database,
        query: str,
        time: tuple[str, str, float],
        value: tuple[str, str],
        chosen: tuple[str, Any] | None = None,
    ) -> None:
        self._database, self._kind, self._unit = database, time[1], time[2]
        column, (name, self.type) = quote(time[0]), value
        self.min_bucket = math.inf if self.type == "string" else 0.0
        t = database.time[self._kind].format(column) + f" * {self._unit!r}" * (self._unit != 1)
        v = quote(name)
        if self.type == "number":
            v = database.number.format(v)
        where = ""
        self._given: tuple[Any, ...] = ()
        if chosen is not None:
            where, self._given = f" and {quote(chosen[0])} = ?", (chosen[1],)
        bounds = f"{column} >= ? and {column} < ?" if self._bounds(0, 1) else "1 = 1"
        rows = f"select {t} as t, {v} as v from ({query}) as q where {bounds}{where}"
        # Not materialized, here and below, so that nothing writes all rows to its disk.
        samples = f"select t, v from ({rows}) as r where t >= ? and t < ?"
        self._samples = f"s as not materialized ({samples})"

    def read(self, start: float, end: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the samples of an interval, many at once."""
        query = f"with {self._samples} select t, v from s order by t, v"
        for rows in self._database.rows(query, self._values(start, end)):
            t, values = zip(*rows, strict=True)
            is_plain = self.type == "bool" and None not in values
            dtype = "<f8" if self.type == "number" else bool if is_plain else object
            yield np.array(t, dtype="<f8"), np.array(values, dtype=dtype)

    def few(self, start: float, end: float, count: int) -> tuple[Samples, bool]:
        """Return all samples of an interval, and True; of more than `count` the first and last."""
        query = f"with {self._samples} select count(*), min(t), max(t) from s"
        ((row,),) = self._database.rows(query, self._values(start, end))
        if is_all := row[0] <= count:
            parts = list(self.read(start, end))
            return join(parts) if parts else NOTHING, is_all
        ends = [join(list(self.read(t, math.nextafter(t, math.inf)))) for t in row[1:]]
        return join([(t[:1], v[:1]) for t, v in ends]), is_all

    def decimate(self, start: float, end: float, w: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what the buckets of numbers or booleans keep, as PROTOCOL.md says."""
        bucket = self._database.floor.format(f"(t / cast({w!r} as double precision))")
        v = "v" if self.type == "number" else "cast(v as integer)"
        query = (
            f"with {self._samples},"
            f" b as not materialized (select t, {v} as v, {bucket} as i from s),"
            " g as materialized"
            " (select i, min(v) as lo, max(v) as hi, min(t) as t from b group by i)"
            " select min(g.t), min(g.lo), min(g.hi), min(case when b.v = g.lo then b.t end),"
            # Crossed, as SQLite would go through all rows for each bucket.
            " min(case when b.v = g.hi then b.t end) from b cross join g where b.i = g.i"
            " and (b.v = g.lo or b.v = g.hi or g.lo is null) group by g.i"
        )
        pairs: list[tuple[float, Any]] = []
        for rows in self._database.rows(query, self._values(start, end)):
            for first, low, high, at_low, at_high in rows:
                pairs += {(first, None)} if low is None else {(at_low, low), (at_high, high)}
        pairs.sort(key=lambda pair: pair[0])
        t, values = zip(*pairs, strict=True) if pairs else ((), ())
        if self.type == "bool":
            values = tuple(None if value is None else bool(value) for value in values)
            return np.array(t, "<f8"), np.array(values, object if None in values else bool)
        return np.array(t, "<f8"), np.array(values, "<f8")

    def _bounds(self, start: float, end: float) -> tuple[Any, ...]:
        """Return values around an interval, for the database's index."""
        # Generously, as times are rounded; a day, as a text may have any zone.
        slack = 172_800.0 if self._kind == "text" else 2.0
        ends = max(start - slack, -1e9), min(end + slack, LATEST)
        if self._kind == "number":
            ends = (start - slack) / self._unit, (end + slack) / self._unit
        found = tuple(self._database.boundary(t, self._kind) for t in ends)
        return () if None in found else found

    def _values(self, start: float, end: float) -> tuple[Any, ...]:
        start, end = max(start, -1e300), min(end, 1e300)
        return (*self._bounds(start, end), *self._given, start, end)


def quote(name: str) -> str:
    """Return the name of a column as all of them write it."""
    return '"' + name.replace('"', '""') + '"'


def kind_of_time(value: Any) -> str:
    """Return of what kind a time is, as Python has it."""
    if isinstance(value, str):
        return "text"
    if hasattr(value, "year"):
        return "aware" if getattr(value, "tzinfo", None) else "naive"
    return "number"


def type_of_value(value: Any) -> str:
    """Return the type of a field with such a value."""
    kinds = {bool: "bool", str: "string"}
    return kinds.get(type(value), "number" if hasattr(value, "__float__") else "")
