"""A field of a table or query of a database: its samples, and what buckets keep of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sisock.sources.sql import LATEST, Database, quote
from sisock.wire.arrays import Samples


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
        for rows in self._database.rows(query, self._values(start, end), is_long=True):
            yield self._as_samples(rows)

    def few(self, start: float, end: float, count: int) -> tuple[Samples, bool]:
        """Return all samples of an interval, and True; of more than `count` the first and last."""
        query, values = f"with {self._samples} select t, v from s", self._values(start, end)
        ordered = f"{query} order by t, v limit {count + 1}"
        some = [row for rows in self._database.rows(ordered, values) for row in rows]
        if is_all := len(some) <= count:
            return self._as_samples(some), is_all
        last = [
            row
            for rows in self._database.rows(f"{query} order by t desc, v limit 1", values)
            for row in rows
        ]
        return self._as_samples([some[0], *last]), is_all

    def decimate(self, start: float, end: float, w: float) -> Samples:
        """Return what the buckets of numbers or booleans keep, as PROTOCOL.md says."""
        v = "v" if self.type == "number" else "cast(v as integer)"
        pairs: list[tuple[float, Any]] = []
        asked = self._database.extremes(self._samples, self._values, v, w, (start, end))
        for _, low, high, at_low, at_high in asked:
            pairs += {(at_low, low), (at_high, high)}
        pairs.sort(key=lambda pair: pair[0])
        if self.type == "bool":
            pairs = [(t, None if value is None else bool(value)) for t, value in pairs]
        return self._as_samples(pairs)

    def _as_samples(self, rows: list[Any]) -> Samples:
        t, values = zip(*rows, strict=True) if rows else ((), ())
        is_plain = self.type == "bool" and None not in values
        dtype = "<f8" if self.type == "number" else bool if is_plain else object
        return np.array(t, dtype="<f8"), np.array(values, dtype=dtype)

    def _bounds(self, start: float, end: float) -> tuple[Any, ...]:
        """Return values around an interval, for the database's index."""
        # Generously, as times are rounded; a day, as a text may have any zone.
        slack = 172_800.0 if self._kind == "text" else 2.0
        ends = max(start - slack, -1e9), min(end + slack, LATEST)
        if self._kind == "number":
            ends = start * (1 - 1e-12) / self._unit, end * (1 + 1e-12) / self._unit
        found = tuple(self._database.boundary(t, self._kind) for t in ends)
        return () if None in found else found

    def _values(self, start: float, end: float) -> tuple[Any, ...]:
        start, end = max(start, -1e300), min(end, 1e300)
        return (*self._bounds(start, end), *self._given, start, end)


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
