"""Read one field from a query of a database: its samples, also decimated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sisock.sources.sql import LATEST, Database, quote
from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples, join


class Column:
    """Read one field from a query.

    `time` is name, kind (`kind_of_time`) and unit in seconds of the column of times; `value` is
    name and type of the column of values. `chosen` is a column and the value that it has in the
    rows of this field, for tables with one row per field and time.
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
        self._chosen: tuple[Any, ...] = ()
        if chosen is not None:
            where, self._chosen = f" and {quote(chosen[0])} = ?", (chosen[1],)
        bounds = f"{column} >= ? and {column} < ?" if self._bounds(0, 1) else "1 = 1"
        rows = f"select {t} as t, {v} as v from ({query}) as q where {bounds}{where}"
        # Not materialized: otherwise databases first write all rows to disk.
        samples = f"select t, v from ({rows}) as r where t >= ? and t < ?"
        self._samples = f"s as not materialized ({samples})"

    def read(self, start: float, end: float, limit: int | None = None) -> Iterator[Samples]:
        """Yield the samples of an interval, in large parts; only the first `limit`, if given."""
        return self._rows("t, v" if limit is None else f"t, v limit {limit}", start, end)

    def read_last(self, start: float, end: float) -> Samples:
        """Return the last sample of an interval, if there is one."""
        return join([NOTHING, *self._rows("t desc, v limit 1", start, end)])

    def decimate(self, start: float, end: float, w: float) -> Samples:
        """Return the samples decimated to buckets of size `w`, as the protocol defines."""
        v = "v" if self.type == "number" else "cast(v as integer)"
        pairs: list[tuple[float, Any]] = []
        buckets = self._database.extremes(self._samples, self._parameters, v, w, (start, end))
        for _, low, high, t_low, t_high in buckets:
            pairs += {(t_low, low), (t_high, high)}
        pairs.sort(key=lambda pair: pair[0])
        if self.type == "bool":
            pairs = [(t, None if value is None else bool(value)) for t, value in pairs]
        return self._as_samples(pairs)

    def _rows(self, order: str, start: float, end: float) -> Iterator[Samples]:
        query, values = f"with {self._samples} select t, v from s", self._parameters(start, end)
        is_long = "limit" not in order
        for rows in self._database.rows(f"{query} order by {order}", values, is_long):
            yield self._as_samples(rows)

    def _as_samples(self, rows: list[Any]) -> Samples:
        t, values = zip(*rows, strict=True) if rows else ((), ())
        is_plain = self.type == "bool" and None not in values
        dtype = "<f8" if self.type == "number" else bool if is_plain else object
        return np.array(t, dtype="<f8"), np.array(values, dtype=dtype)

    def _bounds(self, start: float, end: float) -> tuple[Any, ...]:
        """Return bounds that enclose an interval, so that the database can use an index."""
        # With slack for rounding; for texts, whose time zones may differ, two days.
        slack = 172_800.0 if self._kind == "text" else 2.0
        ends = max(start - slack, -1e9), min(end + slack, LATEST)
        if self._kind == "number":
            ends = start * (1 - 1e-12) / self._unit, end * (1 + 1e-12) / self._unit
        found = tuple(self._database.boundary(t, self._kind) for t in ends)
        return () if None in found else found

    def _parameters(self, start: float, end: float) -> tuple[Any, ...]:
        start, end = max(start, -1e300), min(end, 1e300)
        return (*self._bounds(start, end), *self._chosen, start, end)


def kind_of_time(value: Any) -> str:
    """Return the kind of a time in Python: "number", "text", "aware" or "naive"."""
    if isinstance(value, str):
        return "text"
    if hasattr(value, "year"):
        return "aware" if getattr(value, "tzinfo", None) else "naive"
    return "number"


def type_of_value(value: Any) -> str:
    """Return the type of a field with this value; empty if it cannot be served."""
    kinds = {bool: "bool", str: "string"}
    return kinds.get(type(value), "number" if hasattr(value, "__float__") else "")
