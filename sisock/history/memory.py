"""Keep the samples of a live node in memory, as one series per timeline, and read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from sisock.history import columns
from sisock.history.columns import Column, Rows, Table
from sisock.history.segments import Part
from sisock.wire import grid
from sisock.wire.arrays import Samples, last_present
from sisock.wire.protocol import MAX_EXPONENT
from sisock.wire.reply import Decimated, just_after

MAX_TABLE = 1 << 23  # bytes of a table, after which a new one begins
MAX_MEMORY = 1 << 27  # bytes of a timeline in memory
_TABLES = 8  # minimum number of tables when memory is full: only whole tables are dropped


class MemoryTimeline:
    """Keep the samples of one timeline in memory, in successive `parts`.

    The oldest part is dropped once all of it is older than `seconds`, or the others have `depth`
    samples or more than `MAX_MEMORY` bytes. One thread may append, any may read.
    """

    def __init__(self, name: str, seconds: float = math.inf, depth: float = math.inf) -> None:
        self.name, self.last = name, -math.inf
        self.parts: tuple[Part, ...] = ()
        self.dtypes: dict[str, np.dtype] = {}
        self._seconds, self._depth = seconds, depth

    @property
    def first(self) -> float | None:
        """Time of the first sample; None if there are none."""
        return next((part.first for part in self.parts if part.count), None)

    def append(self, t: np.ndarray, values: dict[str, Column]) -> None:
        """Add samples later than the last one, as columns that must not change.

        A field keeps its type.
        """
        self.dtypes = {name: column.dtype for name, column in values.items()} | self.dtypes
        tables = [part for part in self.parts if isinstance(part, Table)]
        if not tables or self._is_full(tables[-1]):
            tables.append(Table(0))
        tables[-1].put(t, values)
        while self._is_surplus(tables[0], tables[1:], tables[-1].last - self._seconds):
            del tables[0]
        self.parts = tuple(tables)
        self.last = tables[-1].last

    def _is_full(self, table: Table) -> bool:
        is_long = table.last - table.first >= self._seconds / _TABLES
        return is_long or table.count >= self._depth / _TABLES or table.size >= MAX_TABLE

    def _is_surplus(self, oldest: Table, others: list[Table], start: float) -> bool:
        is_old = oldest.last < start
        is_deep = sum(table.count for table in others) >= self._depth
        return is_old or is_deep or sum(table.size for table in others) > MAX_MEMORY

    def samples(
        self, fields: Iterable[str], start: float, end: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the samples of ``[start, end)``: times, and the values of each known field."""
        known = [name for name in fields if name in self.dtypes]
        rows = columns.join(r for part in self.parts for r in part.read(known, start, end))
        return rows[0], {name: self._decode(name, rows) for name in known}

    def decimate(
        self,
        field: str,
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> Decimated:
        """Decimate the samples of ``[start, end)`` to one bucket size, or to `max_points`."""
        final_to = just_after(self.last if self.parts else None)
        end, parts = min(end, final_to), self.parts  # leave out samples that arrive meanwhile
        spans = [part.span(start, end) for part in parts] if max_points else []
        filled = [span for span in spans if span is not None]
        w, asked = grid.plan_reading(start, end, filled, bucket, max_points)
        t, own = rows = columns.join(
            each for interval in asked for part in parts for each in part.gather(field, *interval)
        )
        kept = columns.decimate(t, own.get(field), w)
        if max_points is not None:
            kept = grid.with_ends(kept, len(t))
        return Decimated(t[kept], self._decode(field, columns.take(rows, kept)), w, final_to)

    def latest(self, field: str, end: float) -> Samples | None:
        """Return the last sample of a field before `end` that has a value, if there is one."""
        last = (_last_in(part, field, end) for part in reversed(self.parts))
        rows = next(filter(None, last), None)
        return None if rows is None else (rows[0], self._decode(field, rows))

    def _decode(self, field: str, rows: Rows) -> np.ndarray:
        t, own = rows
        dtype = self.dtypes.get(field, columns.TIMES)
        return columns.decode(own[field] if field in own else columns.missing(dtype, len(t)))


class Memory:
    """Keep the samples of a node's timelines. One thread may put samples, any may read.

    Keeps at least the last `seconds` of each timeline, or the last `depth` samples if it has more.
    """

    generation: str | None = None

    def __init__(self, seconds: float, depth: int | None) -> None:
        self.lines: dict[str, Any] = {}
        self._seconds, self._depth = seconds, depth or math.inf

    def put(self, timeline: str, rows: Rows) -> None:
        """Append samples to a timeline; begin it if it is new."""
        line = self.lines.get(timeline) or self._begin(timeline)
        line.append(*rows)
        self.lines[timeline] = line

    def close(self) -> None:
        """Do nothing: there are no files to close."""

    def _begin(self, timeline: str) -> MemoryTimeline:
        return MemoryTimeline(timeline, self._seconds, self._depth)


def _last_in(part: Part, field: str, before: float) -> Rows | None:
    """Return the last sample with a value of a field before a time."""
    rows = t, _ = columns.join(part.gather(field, -math.inf, before, 2.0**MAX_EXPONENT))
    for at in _last_present(rows, field):
        # A bucket keeps at most two samples, so the last sample is in the bucket of this one.
        stop = float(t[at + 2]) if at + 2 < len(t) else before
        rows = columns.join(part.read([field], float(t[at]), stop))
        if len(which := _last_present(rows, field)):
            return columns.take(rows, which)
    return None


def _last_present(rows: Rows, field: str) -> np.ndarray:
    """Return the index of the last sample with a value, shape (1,); shape (0,) without one."""
    t, own = rows
    return last_present(columns.decode(own.get(field, t[:0])))
