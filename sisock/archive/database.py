"""`DatabaseNode`: a data node of series that a database keeps, and can decimate itself."""

from __future__ import annotations

import math
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from twisted.internet import task, threads

from sisock.archive.node import ArchiveNode
from sisock.archive.overview import decimate_windows
from sisock.connection.runtime import RepeatedWarning, make_pool, stop_pool
from sisock.store.background import WorkLog
from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples, as_samples, join
from sisock.wire.grid import bucket_size_for, bucket_start
from sisock.wire.protocol import Interval, check_interval
from sisock.wire.reply import Decimated, Reply, just_after

LOOK_EVERY, RETRY_EVERY = 10.0, 1.0
"""Seconds between two looks for fields, and after one that failed."""

LOOK_PART = 0.05
"""The part of its time that the node looks for fields, at most."""


class Series(Protocol):
    """A field as its database has it."""

    type: str
    is_placed: bool
    min_bucket: float
    """Size of the smallest buckets that the database can make; infinite, if it makes none."""

    def read(self, start: float, end: float) -> Iterator[Samples]:
        """Yield the samples of an interval, many at once."""

    def few(self, start: float, end: float, count: int) -> tuple[tuple[Any, Any], bool]:
        """Return all samples of an interval, and True; of more than `count` the first and last."""

    def decimate(self, start: float, end: float, w: float) -> tuple[Any, Any]:
        """Return the samples that buckets keep."""


class DatabaseNode(ArchiveNode):
    """An archive that asks a database for each request, and copies nothing: override `look`.

    While the database cannot be asked, the fields are those that were found last, and `trouble`
    says why.

    Attributes
    ----------
    lateness : float
        Seconds for which samples may be missing that are earlier than ones that are there: what is
        not older is not final. 0: they come in order.
    looks_idle : bool
        Whether the node looks for fields also while nobody asks, so that `trouble` is known.
    """

    pyramid = False
    lateness: float = 0.0
    looks_idle = True

    def __init__(self) -> None:
        self._lock, self._due = threading.Lock(), -math.inf
        self._series: Mapping[str, tuple[Series, dict[str, Any]]] = {}
        self._warn = RepeatedWarning(self.log)
        self._looking = task.LoopingCall(self._look_idle)

    @abstractmethod
    def look(self) -> Mapping[str, tuple[Series, dict[str, Any]]]:
        """Ask the database which fields there are: a series and an entry for each name."""

    def begin(self, service: Any) -> None:
        """Begin to look for fields."""
        if not self.looks_idle:
            return
        self._reactor = self._looking.clock = service.reactor
        self._pool = make_pool(f"{self.name}-look", 1)
        self._looking.start(LOOK_EVERY)

    def end(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()
            stop_pool(self._pool)

    def _look_idle(self) -> Any:
        return threads.deferToThreadPool(self._reactor, self._pool, self.list_fields, 0, 0)

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List the fields, as they were a few seconds ago."""
        with self._lock:
            began = time.monotonic()
            if began >= self._due:
                try:
                    self._series, self.trouble = self.look(), None
                except Exception as error:  # each database has its own
                    self.trouble = f"{type(error).__name__}: {str(error).strip()}"
                    self._warn(self.trouble)
                pause = max(LOOK_EVERY, (time.monotonic() - began) / LOOK_PART)
                self._due = time.monotonic() + (RETRY_EVERY if self.trouble else pause)
            return {name: entry for name, (_, entry) in self._series.items()}

    def read(self, field: str, start: float, end: float) -> Samples:
        """Ask for the samples of an interval."""
        parts = [as_samples(*part) for part in self._series[field][0].read(start, end)]
        return join(parts or [NOTHING])

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Reply:
        """Answer from `read`; what may still be late is not final."""
        until = time.time() - self.lateness
        return self._judge(super().get_data(field, start, end, min_stride), until)

    def get_latest(self, field: list[str], end: float) -> Reply:
        """Answer from `read`, beginning where the last sample is known to be."""
        until = time.time() - self.lateness
        return self._judge(super().get_latest(field, end), until)

    def _judge(self, reply: Reply, until: float) -> Reply:
        for line in reply.timelines.values():
            if self.lateness and line.t[-1] >= until:
                line.finalized_until = min(until, line.finalized_until or math.inf)
        return reply

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> dict[str, Decimated]:
        """Have the database decimate what it can; the rest is decimated here."""
        interval = check_interval(start, end)
        until = time.time() - self.lateness if self.lateness else math.inf
        found = {}
        for name, entry in self._entries_of(field, interval).items():
            t, values, w, is_placed = self._decimate(name, interval, bucket, max_points)
            known = [entry["last"]] if entry.get("last") is not None else []
            if len(t):
                # Of what is placed, only the bucket is known.
                known.append(bucket_start(t[-1], w) if is_placed and w else float(t[-1]))
            final_to = min(just_after(max(known, default=None)), until)
            found[name] = Decimated(t, values, w, final_to, is_placed)
        return found

    def _decimate(
        self, name: str, interval: Interval, bucket: float | None, max_points: int | None
    ) -> tuple[np.ndarray, np.ndarray, float | None, bool]:
        """Return times and values, the size of their buckets, and whether they are placed."""
        series, (start, end) = self._series[name][0], (interval.start, interval.end)
        w, ends = bucket, None
        if max_points is not None and series.min_bucket < math.inf:
            found, is_all = series.few(start, end, max_points)
            t, values = ends = as_samples(*found)
            if is_all:
                return t, values, None, False
            w = bucket_size_for(float(t[0]), float(t[-1]), max_points)
            start, end = float(t[0]), math.nextafter(t[-1], math.inf)
        if w is None or w < series.min_bucket:
            parts = (as_samples(*part) for part in series.read(start, end))
            log = WorkLog(self.log, f"reading {name!r} to decimate it")
            own = decimate_windows(parts, bucket, max_points, log)
            return own.t, own.values, own.bucket, False
        if ends is not None and series.is_placed:
            # Both ends are there at their own times, and need no place.
            start, end = math.nextafter(start, math.inf), float(ends[0][-1])
        t, values = as_samples(*series.decimate(start, end, w))
        if ends is not None:
            t, values = _with_ends((t, values), ends)
        return t, values, w, series.is_placed


def _with_ends(kept: Samples, ends: Samples) -> Samples:
    """Add the first and the last sample, where they are not there."""
    t = kept[0]
    first, last = (slice(1), slice(-1, None))
    parts = [kept]
    if not len(t) or t[0] != ends[0][0]:
        parts.insert(0, (ends[0][first], ends[1][first]))
    if not len(t) or t[-1] != ends[0][-1]:
        parts.append((ends[0][last], ends[1][last]))
    return join(parts)
