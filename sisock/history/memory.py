"""Keep the samples of a live node in memory, as one series per timeline, and read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sisock.history import columns
from sisock.history.columns import Column, Rows, Table
from sisock.history.segments import Part
from sisock.wire import grid
from sisock.wire.arrays import Samples, last_present
from sisock.wire.protocol import MAX_EXPONENT
from sisock.wire.reply import Decimated, Reply, just_after

MAX_TABLE = 1 << 23  # bytes of a table, after which a new one begins
MAX_MEMORY = 1 << 27  # bytes of a timeline in memory
_TABLES = 8  # minimum number of tables when memory is full: only whole tables are dropped


@dataclass(frozen=True)
class TimelineInfo:
    """Describe a timeline's samples: first and last time, count, and the type of each field."""

    first: float
    last: float
    count: int
    fields: dict[str, str]


class MemoryTimeline:
    """Keep the samples of one timeline in memory, in successive `parts`.

    The oldest part is dropped once all of it is older than `seconds`, or the others have `depth`
    samples or more than `MAX_MEMORY` bytes. One thread may append, any may read.
    """

    def __init__(self, name: str, seconds: float = math.inf, depth: float = math.inf) -> None:
        self.name, self.last = name, -math.inf
        self.parts: tuple[Part, ...] = ()
        self._seconds, self._depth = seconds, depth

    def info(self, fields: dict[str, str]) -> TimelineInfo | None:
        """Describe the samples; return None if there are none."""
        parts = [part for part in self.parts if part.count]
        count = sum(part.count for part in parts)
        return TimelineInfo(parts[0].first, parts[-1].last, count, fields) if parts else None

    def append(self, t: np.ndarray, columns: dict[str, Column]) -> None:
        """Add samples, which are later than the last one."""
        tables = [part for part in self.parts if isinstance(part, Table)]
        if not tables or self._is_full(tables[-1]):
            tables.append(Table(0))
        tables[-1].put(t, columns)
        self.last = tables[-1].last
        while self._is_surplus(tables[0], tables[1:]):
            del tables[0]
        self.parts = tuple(tables)

    def _is_full(self, table: Table) -> bool:
        is_long = table.last - table.first >= self._seconds / _TABLES
        return is_long or table.count >= self._depth / _TABLES or table.size >= MAX_TABLE

    def _is_surplus(self, oldest: Table, others: list[Table]) -> bool:
        is_old = oldest.last < self.last - self._seconds
        is_deep = sum(table.count for table in others) >= self._depth
        return is_old or is_deep or sum(table.size for table in others) > MAX_MEMORY


class Memory:
    """Keep the samples of a node's timelines. One thread may put samples, any may read.

    Keeps at least the last `seconds` of each timeline, or the last `depth` samples if it has more.
    """

    generation: str | None = None

    def __init__(self, seconds: float, depth: int | None) -> None:
        self._seconds, self._depth = seconds, depth or math.inf
        self._timelines: dict[str, Any] = {}
        self._fields: dict[str, tuple[MemoryTimeline, np.dtype]] = {}

    def put(self, timeline: str, rows: Rows) -> None:
        """Append samples later than the timeline's last one, as columns that must not change.

        A field keeps its type and its timeline.
        """
        times, found = rows
        if timeline not in self._timelines:
            self._timelines[timeline] = self._begin(timeline)
        line = self._timelines[timeline]
        line.append(times, found)
        for name in found.keys() - self._fields.keys():
            self._fields[name] = line, found[name].dtype

    def timelines(self) -> dict[str, TimelineInfo]:
        """Describe each timeline that has samples."""
        types: dict[str, dict[str, str]] = {}
        for field, (line, dtype) in self._fields.copy().items():
            types.setdefault(line.name, {})[field] = columns.type_of(dtype)
        lines = self._timelines.copy().items()
        found = {name: line.info(types.get(name, {})) for name, line in lines}
        return {name: about for name, about in found.items() if about is not None}

    def samples(
        self, timeline: str, fields: Iterable[str], start: float, end: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the samples of ``[start, end)``: times, and the values of each known field."""
        line = self._timelines.get(timeline)
        if line is None:
            return np.empty(0), {}
        known = [name for name in fields if self._fields.get(name, (None,))[0] is line]
        rows = columns.join(r for part in line.parts for r in part.read(known, start, end))
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
        line, _ = self._fields.get(field, (None, None))
        final_to = just_after(line.last if line else None)
        end = min(end, final_to)  # leave out samples that arrive meanwhile
        spans = [part.span(start, end) for part in self._parts(field)] if max_points else []
        filled = [span for span in spans if span is not None]
        w, asked = grid.plan_reading(start, end, filled, bucket, max_points)
        t, own = rows = columns.join(
            each
            for interval in asked
            for part in self._parts(field)
            for each in part.gather(field, *interval)
        )
        kept = columns.decimate(t, own.get(field), w)
        if max_points is not None:
            kept = grid.with_ends(kept, len(t))
        return Decimated(t[kept], self._decode(field, columns.take(rows, kept)), w, final_to)

    def latest(self, fields: Iterable[str], end: float) -> Reply:
        """Return the last sample of each field before `end` that has a value."""
        found: dict[str, tuple[str, Samples]] = {}
        for name in fields:
            last = (_last_in(part, name, end) for part in reversed(self._parts(name)))
            if rows := next(filter(None, last), None):
                found[name] = self._fields[name][0].name, (rows[0], self._decode(name, rows))
        return Reply.merged(found, fields)

    def close(self) -> None:
        """Do nothing: there are no files to close."""

    def _begin(self, timeline: str) -> MemoryTimeline:
        return MemoryTimeline(timeline, self._seconds, self._depth)

    def _parts(self, field: str) -> tuple[Part, ...]:
        return self._fields[field][0].parts if field in self._fields else ()

    def _decode(self, field: str, rows: Rows) -> np.ndarray:
        t, own = rows
        if field not in own:
            _, dtype = self._fields.get(field, (None, columns.TIMES))
            return columns.decode(columns.missing(dtype, len(t)))
        return columns.decode(own[field])


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
