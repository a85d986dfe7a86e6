"""Keep the newest samples of a live node in memory, timeline by timeline."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from sisock.store.history import TimelineInfo
from sisock.wire import grid
from sisock.wire.arrays import normalise
from sisock.wire.protocol import contract
from sisock.wire.times import parse_duration

MAX_SAMPLES = 4_000_000
"""Samples of a timeline that are kept if its author does not say how many: 64 MB of each field."""

_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


class Memory:
    """Keep the samples of the last `seconds` of each timeline, at most `depth` of them.

    `kinds` are the types of the fields.
    """

    def __init__(self, seconds: float, depth: int | None, kinds: Mapping[str, str]) -> None:
        self._seconds, self._depth, self._kinds = seconds, depth or MAX_SAMPLES, kinds
        self._lines: dict[str, _Line] = {}
        self._line_of: dict[str, str] = {}
        self._lock = threading.Lock()

    def append(self, timeline: str, t: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Add samples, all of them later than the newest."""
        newest = slice(-self._depth, None)
        with self._lock:
            line = self._lines.setdefault(timeline, _Line(self._kinds))
            line.append(t[newest], {name: each[newest] for name, each in values.items()})
            line.drop(float(t[-1]) - self._seconds, self._depth)
            self._line_of |= dict.fromkeys(values, timeline)

    def timelines(self) -> dict[str, TimelineInfo]:
        """Return what there is of each timeline."""
        with self._lock:
            return {name: line.info() for name, line in self._lines.items()}

    def samples(
        self, timeline: str, fields: Iterable[str], start: float, end: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the samples of ``[start, end)``: times, and the values of each known field."""
        with self._lock:
            t, own = self._lines[timeline].samples(fields, start, end)
        return t, {name: normalise(column) for name, column in own.items()}

    def decimated(
        self, field: str, start: float, end: float, w: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the buckets of size `w` keep of a field's samples in ``[start, end)``."""
        t, values = self._samples_of(field, start, end)
        kept = grid.decimate(t, values, w)
        return t[kept], values[kept]

    def few(
        self, field: str, start: float, end: float, max_points: int
    ) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Return at most `max_points` samples, and the size of the buckets, None: all of them."""
        t, values = self._samples_of(field, start, end)
        kept, w = grid.decimate_by(t, values, None, max_points)
        return t[kept], values[kept], w

    def close(self) -> None:
        """Do nothing: the counterpart of `sisock.store.history.History.close`."""

    def _samples_of(self, field: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        if field not in self._line_of:
            return np.empty(0), np.empty(0)
        t, own = self.samples(self._line_of[field], [field], start, end)
        return t, own[field]


class _Line:
    """Arrays that are written behind their end only, and replaced when they are full."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.begin = self.end = 0
        self.t = np.empty(0)
        self.columns: dict[str, np.ndarray] = {}
        self._kinds = kinds

    def info(self) -> TimelineInfo:
        first, last = self.t[[self.begin, self.end - 1]].tolist()
        fields = {name: self._kinds[name] for name in self.columns}
        return TimelineInfo(first, last, self.end - self.begin, fields)

    def samples(
        self, fields: Iterable[str], start: float, end: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        low, high = np.searchsorted(self.t[self.begin : self.end], [start, end]) + self.begin
        own = (name for name in fields if name in self.columns)
        return self.t[low:high], {name: self.columns[name][low:high] for name in own}

    def append(self, t: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        if self.end + len(t) > len(self.t):
            self._make_room(len(t))
        for name in columns.keys() - self.columns.keys():
            self.columns[name] = missing(self._kinds[name], len(self.t))
        new = slice(self.end, self.end + len(t))
        self.t[new] = t
        for name, column in columns.items():
            self.columns[name][new] = column
        self.end = new.stop

    def drop(self, before: float, depth: int) -> None:
        early = int(np.searchsorted(self.t[: self.end], before))
        self.begin = max(self.begin, early, self.end - depth)

    def _make_room(self, more: int) -> None:
        kept, count = slice(self.begin, self.end), self.end - self.begin
        room = 2 * (count + more)
        old, self.t = self.t, np.empty(room)
        self.t[:count] = old[kept]
        for name, column in self.columns.items():
            self.columns[name] = missing(self._kinds[name], room)
            self.columns[name][:count] = column[kept]
        self.begin, self.end = 0, count


def missing(kind: str, count: int) -> np.ndarray:
    """Return so many missing values of a field's type, as they are served."""
    return np.full(count, np.nan) if kind == "number" else np.full(count, None)


def bounds(keep: Any, node: str) -> tuple[float | None, float | None]:
    """Return the seconds and the bytes for which an author has samples kept, None: no bound."""
    asked = keep if isinstance(keep, Mapping) else {"time": keep}
    with contract(node):
        if not asked or asked.keys() - {"time", "bytes"}:
            raise ValueError('the attribute keep has "time" or "bytes" or both')
        return _bound(asked.get("time"), parse_duration), _bound(asked.get("bytes"), _parse_size)


def _bound(given: Any, parse: Callable[[str], float]) -> float | None:
    bound = parse(given) if isinstance(given, str) else given
    if bound is not None and not (isinstance(bound, int | float) and 0 < bound < math.inf):
        raise ValueError(f"the attribute keep has {given!r}, which is no bound")
    return bound


def _parse_size(text: str) -> float:
    number, unit = text.strip().rstrip("kMGTB"), text.strip().lstrip("0123456789. ")
    if unit not in _BYTES or not number.strip().replace(".", "", 1).isdigit():
        raise ValueError(f'{text!r} is not a number of bytes: write "500MB" or "20GB"')
    return float(number) * _BYTES[unit]
