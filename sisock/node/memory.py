"""Keep the newest samples of a live node in memory, timeline by timeline."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sisock.node.timeline import Columns, Part, missing, take

MAX_SAMPLES = 4_000_000
"""Samples of a timeline that are kept if its author does not say how many: 64 MB of each field."""


@dataclass(frozen=True)
class Ends:
    """Times of the first and of the last sample of a timeline."""

    first: float
    last: float


class Memory:
    """Keep the samples of the last `seconds` of each timeline, at most `depth` of them.

    `kinds` are the types of the fields.
    """

    def __init__(self, seconds: float, depth: int | None, kinds: Mapping[str, str]) -> None:
        self._seconds, self._depth, self._kinds = seconds, depth or MAX_SAMPLES, kinds
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()

    def append(self, timeline: str, t: np.ndarray, columns: Columns) -> None:
        """Add samples, all of them later than the newest."""
        with self._lock:
            line = self._lines.setdefault(timeline, _Line(self._kinds))
            line.append(*take((t, columns), slice(-self._depth, None)))
            line.drop(float(t[-1]) - self._seconds, self._depth)

    def timelines(self) -> dict[str, Ends]:
        """Return of each timeline that has samples the times of the first and the last."""
        with self._lock:
            ends = {name: line.t[[line.begin, line.end - 1]] for name, line in self._lines.items()}
        return {name: Ends(*t.tolist()) for name, t in ends.items()}

    def samples(self, timeline: str, fields: list[str], start: float, end: float) -> Part:
        """Return the samples from `start` on and before `end`, of those of the fields it has.

        They are views of what never changes.
        """
        with self._lock:
            line = self._lines[timeline]
            kept = line.t[line.begin : line.end]
            low, high = line.begin + np.searchsorted(kept, [start, end])
            own = {name: line.columns[name] for name in fields if name in line.columns}
            return take((line.t, own), slice(low, high))


class _Line:
    """Arrays that are written behind their end only, and replaced when they are full."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.begin = self.end = 0
        self.t = np.empty(0)
        self.columns: Columns = {}
        self._kinds = kinds

    def append(self, t: np.ndarray, columns: Columns) -> None:
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
