"""Ask a database for samples, decimated by the database itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sisock.sources.databases import LATEST, Database, quote
from sisock.wire.grid import bucket_size_for
from sisock.wire.reply import Decimated, just_after

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_SOME = 100
"""Rows by which the types of columns are found."""


class Column:
    """A field of a query: its times and values, as the database can say them.

    `time` is the column of the times, of a `kind` and in units of so many seconds; `chosen` is a
    condition and its value, where a column says of which field a row is.
    """

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

    def count(self, start: float, end: float) -> tuple[int, float, float]:
        """Return how many samples an interval has, and the times of the first and the last."""
        query = f"with {self._samples} select count(*), min(t), max(t) from s"
        ((row,),) = self._database.rows(query, self._values(start, end))
        return row

    def samples(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of an interval."""
        parts = [(np.empty(0), np.empty(0)), *self.read(start, end)]
        t, values = zip(*(parts[1:] or parts), strict=True)
        return np.concatenate(t), np.concatenate(values)

    def decimated(
        self, start: float, end: float, bucket: float | None, max_points: int | None
    ) -> Decimated:
        """Return what buckets of numbers or booleans keep, or at most so many samples."""
        ends: list[tuple[Any, Any]] = []
        if max_points is not None:
            count, first, last = self.count(start, end)
            if count <= max_points:
                t, values = self.samples(start, end)
                return Decimated(t, values, None, just_after(t[-1] if count else None))
            bucket = bucket_size_for(first, last, max_points)
            ends = [self.samples(t, math.nextafter(t, math.inf)) for t in (first, last)]
        t, values = self.decimate(start, end, bucket or 1.0)
        if ends:
            (t0, v0), (t1, v1) = ends
            before, after = int(t[0] != t0[0]), int(t[-1] != t1[-1])
            t = np.concatenate([t0[:before], t, t1[len(t1) - after :]])
            values = np.concatenate([v0[:before], values, v1[len(v1) - after :]])
        return Decimated(t, values, bucket, just_after(float(t[-1]) if len(t) else None))

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


class Wanted(NamedTuple):
    """Which columns of a query are wanted: that of the times, in seconds of `unit`, and others.

    If there is a `key`, the fields are its values, and their values in the column `value`.
    """

    query: str
    time: str
    unit: float
    key: str | None
    value: str | None


def find_columns(database: Database, wanted: Wanted) -> Iterator[tuple[str, Column]]:
    """Yield the fields of a query by their names; ValueError says which column is missing."""
    query, time, unit, key, value = wanted
    names, rows = database.columns(query, _SOME)
    some = {
        name: _some(database, query, name, [row[i] for row in rows]) for i, name in enumerate(names)
    }
    for name in (time, key, value):
        if name is not None and name not in some:
            raise ValueError(f"there is no column {name!r}, only {', '.join(names)}")
    kind = kind_of_time(some[time])
    source = database, query, (time, kind, unit if kind == "number" else 1.0)
    if key is None or value is None:
        for name in names:
            if name != time and (type_of := type_of_value(some[name])):
                yield name, Column(*source, (name, type_of))
        return
    type_of = type_of_value(some[value]) or "number"
    keys = f"select distinct {quote(key)} from ({query}) as q"
    for (found,) in (row for rows in database.rows(keys) for row in rows):
        if found is not None:
            yield str(found), Column(*source, (value, type_of), (key, found))


def _some(database: Database, query: str, name: str, values: list[Any]) -> Any:
    """Return a value of a column that tells its type."""
    if not (found := [value for value in values if value is not None]):
        column = quote(name)
        query = f"select {column} from ({query}) as q where {column} is not null"
        found = [row[0] for row in database.columns(query, 1)[1]]
    return next(iter(found), None)


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
