"""`DatabaseNode`: a data node over a database, which may decimate the samples itself."""

from __future__ import annotations

import math
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from sisock.archive.node import ArchiveNode
from sisock.archive.pyramids import decimate_windows
from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import WorkLog
from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples, as_samples, join
from sisock.wire.grid import Wanted, bucket_size_for, bucket_start
from sisock.wire.protocol import Interval
from sisock.wire.reply import Decimated, Reply, just_after

SEARCH_EVERY, RETRY_EVERY = 10.0, 1.0
"""Seconds between two searches for fields, and after a failed one."""

MAX_SEARCH_SHARE = 0.05  # the largest part of its time that a node spends on searching for fields


class Series(Protocol):
    """Access one field in its database."""

    type: str
    is_placed: bool
    """Whether the decimated samples have made-up times, within the right bucket."""

    min_bucket: float
    """Smallest bucket size in seconds for which the database can decimate; inf if it cannot."""

    def read(self, start: float, end: float, limit: int | None = None) -> Iterator[Samples]:
        """Yield the samples of an interval in large parts, or the first `limit` or more of them."""

    def read_last(self, start: float, end: float) -> tuple[Any, Any]:
        """Return the last sample of an interval, if there is one."""

    def decimate(self, start: float, end: float, w: float) -> tuple[Any, Any]:
        """Return the samples of an interval decimated to buckets of size `w`."""


class DatabaseNode(ArchiveNode):
    """A data node that queries a database for each request and copies nothing.

    Override `find_fields`. While the database is unreachable the fields of the last successful
    search are listed, and `trouble` says what is wrong.

    Attributes
    ----------
    lateness : float
        Seconds by which samples may arrive late: younger ones are not final. 0 (the default)
        means that samples arrive in order.
    searches_when_idle : bool
        Whether to search for fields also without requests, which keeps `trouble` up to date.
    """

    pyramid = False
    lateness: float = 0.0
    searches_when_idle = True

    def __init__(self) -> None:
        self._lock, self._due = threading.Lock(), -math.inf
        self._series: Mapping[str, tuple[Series, dict[str, Any]]] = {}
        self._warn = RepeatedWarning(self.log)

    @abstractmethod
    def find_fields(self) -> Mapping[str, tuple[Series, dict[str, Any]]]:
        """Return the fields in the database: name to its series and its entry of `list_fields`."""

    def begin(self, service: Any) -> None:
        """Begin to search for fields regularly."""
        if self.searches_when_idle:
            search = partial(service.requests.in_thread, self.list_fields, 0, 0)
            service.repeat(SEARCH_EVERY, search)

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List the fields, as found at most some seconds ago."""
        with self._lock:
            began = time.monotonic()
            if began >= self._due:
                try:
                    self._series, self.trouble = self.find_fields(), None
                except Exception as error:  # each database driver has its own
                    self.trouble = f"{type(error).__name__}: {str(error).strip()}"
                    self._warn(self.trouble)
                pause = max(SEARCH_EVERY, (time.monotonic() - began) / MAX_SEARCH_SHARE)
                self._due = time.monotonic() + (RETRY_EVERY if self.trouble else pause)
            return {name: entry for name, (_, entry) in self._series.items()}

    def read(self, field: str, start: float, end: float) -> Samples:
        """Read the samples of an interval from the database."""
        return self._read_part(field, {}, Interval(start, end), math.inf)[0]

    def _read_part(
        self, name: str, entry: Mapping[str, Any], interval: Interval, most: float
    ) -> tuple[Samples, float]:
        parts, count = [NOTHING], 0
        for part in self._series[name][0].read(interval.start, interval.end):
            parts.append(as_samples(*part))
            count += len(parts[-1][0])
            t = parts[-1][0]
            if count > most and len(t) and t[-1] > interval.start:
                # The last instant may have more samples.
                return join(parts), float(t[-1])
        return join(parts), interval.end

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Reply:
        """Answer from `read`; times for which samples may still arrive are not final."""
        until = time.time() - self.lateness
        return self._limit_finality(super().get_data(field, start, end, min_stride), until)

    def get_latest(self, field: list[str], end: float) -> Reply:
        """Answer from `read`, beginning at the time of the last known sample."""
        until = time.time() - self.lateness
        return self._limit_finality(super().get_latest(field, end), until)

    def _limit_finality(self, reply: Reply, until: float) -> Reply:
        for line in reply.timelines.values():
            if self.lateness and line.t[-1] >= until:
                line.finalized_until = min(until, line.finalized_until or math.inf)
        return reply

    def _read_decimated(
        self, name: str, entry: Mapping[str, Any], due: float, wanted: Wanted
    ) -> Decimated:
        """Have the database decimate if it can; otherwise decimate here."""
        until = time.time() - self.lateness if self.lateness else math.inf
        t, values, w, is_placed = self._decimate(name, wanted)
        known = [entry["last"]] if entry.get("last") is not None else []
        if len(t):
            # For a sample with a made-up time, only the bucket is known.
            known.append(bucket_start(t[-1], w) if is_placed and w else float(t[-1]))
        final_to = min(just_after(max(known, default=None)), until)
        return Decimated(t, values, w, final_to, is_placed)

    def _decimate(
        self, name: str, wanted: Wanted
    ) -> tuple[np.ndarray, np.ndarray, float | None, bool]:
        """Return times, values, bucket size, and whether the times are made up (placed)."""
        series, (start, end, w, max_points), ends = self._series[name][0], wanted, None
        if max_points is not None and series.min_bucket < math.inf:
            few = series.read(start, end, max_points + 1)
            t, values = join([NOTHING, *(as_samples(*part) for part in few)])
            if len(t) <= max_points:
                return t, values, None, False
            last = as_samples(*series.read_last(start, end))
            t, values = ends = join([(t[:1], values[:1]), last])
            w = bucket_size_for(float(t[0]), float(t[-1]), max_points)
            start, end = float(t[0]), math.nextafter(t[-1], math.inf)
        if w is None or w < series.min_bucket:
            parts = (as_samples(*part) for part in series.read(start, end))
            log = WorkLog(self.log, f"reading {name!r} to decimate it")
            decimated = decimate_windows(parts, wanted, log)
            return decimated.t, decimated.values, decimated.bucket, False
        if ends is not None and series.is_placed:
            # The true times of both ends are known: leave these samples out here.
            start, end = math.nextafter(start, math.inf), float(ends[0][-1])
        t, values = as_samples(*series.decimate(start, end, w))
        if ends is not None:
            t, values = _with_ends((t, values), ends)
        return t, values, w, series.is_placed


def _with_ends(kept: Samples, ends: Samples) -> Samples:
    """Add the first and the last sample of an interval if they are missing."""
    t = kept[0]
    first, last = slice(1), slice(-1, None)
    parts = [kept]
    if not len(t) or t[0] != ends[0][0]:
        parts.insert(0, (ends[0][first], ends[1][first]))
    if not len(t) or t[-1] != ends[0][-1]:
        parts.append((ends[0][last], ends[1][last]))
    return join(parts)
