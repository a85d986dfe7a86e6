"""Ask SQLite, PostgreSQL and DuckDB, and have them find the extremes of buckets."""

from __future__ import annotations

import math
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

with suppress(ImportError):  # only the node of databases needs them
    import psycopg
with suppress(ImportError):
    import duckdb

ROWS = 50_000  # rows that are fetched at once
LATEST = 253_370_764_800.0  # UNIX time of the year 9999, after which databases know no time

PARTS, MIN_ROWS, MAX_COST = 8, 100, 3.0
"""PostgreSQL is asked for parts of buckets if one is expected to have at least so many rows, and
all together to cost at most so many times of what all rows at once do."""


Given: TypeAlias = Callable[[float, float], tuple[Any, ...]]
"""Makes the values of a query of an interval."""

Extremes: TypeAlias = tuple[float, Any, Any, float, float]
"""Of a bucket the first time, the smallest and the largest value, and the first time of each."""


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
    def cursor(self, is_long: bool = False) -> Iterator[Any]:
        """Return a cursor of a connection for one query, or one with a long result."""
        connection = self.connect()
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def rows(
        self, query: str, values: tuple[Any, ...] = (), is_long: bool = False
    ) -> Iterator[list[Any]]:
        """Yield the rows of a query, many at once; its values are written as ``?``."""
        with self.cursor(is_long) as cursor:
            cursor.execute(query, values)
            while rows := cursor.fetchmany(ROWS):
                yield rows

    def extremes(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Yield of each bucket its extremes, in two steps: what they are, and where.

        `samples` defines ``s`` with columns t and v, for values that `given` makes of an interval;
        `v` is what to compare.
        """
        values = given(*interval)
        bucket = self.floor.format(f"(t / {number(w)})")
        found: dict[float, list[Any]] = {}
        query = f"with {samples} select {bucket} as i, min(t), min({v}), max({v}) from s group by 1"
        for rows in self.rows(query, values):
            found |= {i: rest for i, *rest in rows}
        yield from ((t, None, None, t, t) for t, low, _ in found.values() if low is None)
        # As constants, so that the database knows how few there are.
        known = [(i, value) for i, (_, *both) in found.items() for value in {*both} - {None}]
        if not known:
            return
        constants = ", ".join(f"({n}, {number(i)}, {number(x)})" for n, (i, x) in enumerate(known))
        query = (
            f"with {samples}, g (n, i, x) as (values {constants}) select g.n, min(t)"
            # Crossed, as SQLite would go through all rows for each bucket.
            f" from s cross join g where {bucket} = g.i and {v} = g.x group by g.n"
        )
        at = {known[n]: t for rows in self.rows(query, values) for n, t in rows}
        for i, (t, low, high) in found.items():
            if low is not None:
                yield t, low, high, at[i, low], at[i, high]

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
    # A text is more than any number.
    number = "case when {0} between -1.7976931348623157e308 and 1.7976931348623157e308 then {0} end"
    time = {
        "number": "{}",
        "text": "round(strftime('%s', {0}) + strftime('%f', {0}) - strftime('%S', {0}), 3)",
    }

    def connect(self) -> Any:
        """Open the file, which another process may write."""
        uri = f"{Path(self.where).absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=5, check_same_thread=False)

    def extremes(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Ask for one bucket after the other, if an index finds their times: nothing is grouped."""
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
                    yield t, low, high, *places
                elif t is not None:
                    yield t, None, None, t, t

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
        options = "-c default_transaction_read_only=on -c timezone=UTC -c jit=off"
        return psycopg.connect(self.where, options=options, connect_timeout=5)

    @contextmanager
    def cursor(self, is_long: bool = False) -> Iterator[Any]:
        """Return a cursor of a connection that still works; it fetches a long result in parts."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is not None:
                connection.execute("select 1")
        except psycopg.Error:
            connection = None
        connection = connection or self.connect()
        try:
            # One that fetches in parts has no parallel workers.
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
        """Write values as psycopg does."""
        return super().rows(_for_psycopg(query), values, is_long)

    def extremes(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Ask for large buckets part by part, if an index finds these; otherwise for all at once.

        At once, values are asked for with their times: arrays are compared item by item.
        """
        if self._finds_parts(samples, given, w, interval):
            yield from self._walk(samples, given, v, w, interval)
            return
        pairs = [
            f"{extreme}(case when v is not null then array[cast({v} as double precision), {t}] end)"
            for extreme, t in (("min", "t"), ("max", "-t"))
        ]
        query = f"with {samples} select min(t), {', '.join(pairs)} from s group by floor(t / ?)"
        for rows in self.rows(query, (*given(*interval), w)):
            for t, low, high in rows:
                yield (t, low[0], high[0], low[1], -high[1]) if low else (t, None, None, t, t)

    def _finds_parts(
        self, samples: str, given: Given, w: float, interval: tuple[float, float]
    ) -> bool:
        """Return whether the database expects to read parts of buckets fast enough."""
        middle = sum(interval) / 2
        parts = interval, (middle, middle + w / PARTS)
        query = f"explain (format json) with {samples} select t from s"
        explained = [list(self.rows(query, given(*part))) for part in parts]
        whole, one = (rows[0][0][0][0]["Plan"] for rows in explained)
        cost = one["Total Cost"] * PARTS * (interval[1] - interval[0]) / w
        return one["Plan Rows"] >= MIN_ROWS and cost <= MAX_COST * whole["Total Cost"]

    def _walk(
        self, samples: str, given: Given, v: str, w: float, interval: tuple[float, float]
    ) -> Iterator[Extremes]:
        """Ask for one part of a bucket after the other; then for the times, where extremes are."""
        what = _for_psycopg(f"with {samples} select min(t), min({v}), max({v}) from s")
        where = _for_psycopg(f"with {samples} select min(t) from s where {v} = ?")
        first, last = (math.floor(t / w) for t in interval)
        edges = np.clip(w / PARTS * np.arange(first * PARTS, (last + 1) * PARTS + 1), *interval)
        parts = [given(*part) for part in pairwise(edges.tolist())]
        with self.cursor() as cursor:
            found = [*zip(_answers(cursor, what, parts), parts, strict=True)]
            buckets: list[tuple[Any, ...]] = []
            places: list[tuple[Any, ...]] = []
            for i in range(0, len(found), PARTS):
                filled = [(*row, part) for row, part in found[i : i + PARTS] if row[0] is not None]
                known = [part for part in filled if part[1] is not None]
                if known:
                    low, high = min(known, key=itemgetter(1)), max(known, key=itemgetter(2))
                    buckets.append((filled[0][0], low[1], high[2]))
                    places += (*low[3], low[1]), (*high[3], high[2])
                elif filled:
                    yield filled[0][0], None, None, filled[0][0], filled[0][0]
            times = [t for (t,) in _answers(cursor, where, places)]
            for bucket, at_low, at_high in zip(buckets, times[::2], times[1::2], strict=True):
                yield *bucket, at_low, at_high

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


def _answers(cursor: Any, query: str, values: list[tuple[Any, ...]]) -> list[Any]:
    """Return the only row of a query for each of many values, all of which are sent at once."""
    if not values:
        return []
    cursor.executemany(query, values, returning=True)
    rows = [cursor.fetchone()]
    while cursor.nextset():
        rows.append(cursor.fetchone())
    return rows


def _for_psycopg(query: str) -> str:
    """Return a query with its values as psycopg writes them."""
    return query.replace("%", "%%").replace("?", "%s")


def number(value: float) -> str:
    """Return a number as all of them write one of 64 bits."""
    return f"{float(value):.16e}"


def quote(name: str) -> str:
    """Return the name of a column as all of them write it."""
    return '"' + name.replace('"', '""') + '"'
