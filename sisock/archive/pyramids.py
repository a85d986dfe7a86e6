"""Build pyramids from an archive's `read` in the background, and decimate without them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import Jobs, Steps, WorkLog, until_stored
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid
from sisock.store.series import NOTHING, Damaged
from sisock.wire import grid
from sisock.wire.arrays import Samples, join
from sisock.wire.grid import Wanted
from sisock.wire.reply import Decimated, just_after
from sisock.wire.times import counted

FEW = 250_000
MANY = 1_000_000
"""Samples; a window with fewer is followed by a longer one, with more by a shorter one."""

FIRST_SPAN = 3600.0
MAX_SPAN = 32 * 86400.0
"""Seconds of the first window, and of the longest while the density of samples is unknown."""

PLACES, PROBE = (1.0, 0.146, 0.382, 0.528, 0.764), 10.0
"""Relative places in a window, and seconds read at each, to estimate the density of samples."""

GAP_FACTOR = 8  # a window after an empty one may be this many times longer: gaps may last years
EARLIEST = -1e12  # UNIX time before all samples

EXTEND_OVER = 10_000
EXTEND_EVERY = 60.0
"""Samples that each request reads before the pyramid is extended by them, and seconds between two
extensions of one field, or two tries to build it."""

RELEASE_EVERY = 1.0  # seconds between two releases of the mapped memory that requests have read


class _NotNumbers(Exception):
    """The values are not numbers and cannot be stored."""


class Pyramids:
    """Build the pyramids of an archive's fields, and answer from complete ones.

    `source` is the `ArchiveNode`; `read` is its method, checked and cut to the interval.
    """

    def __init__(self, source: Any, read: Callable[[str, float, float], Samples]) -> None:
        self._source = source
        self._read = read
        self._entries: Mapping[str, Mapping[str, Any]] = {}
        self._warn = RepeatedWarning(source.log)
        self._store = Store(source.name, self._warn)
        self._jobs = Jobs(source.name, self._warn, self._store)
        self._complete: dict[str, Pyramid] = {}
        self._tried: dict[str, float] = {}
        self._generation = 0
        self._release_due = -math.inf
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Drop all pyramids: samples have changed."""
        with self._lock:
            self._generation += 1
            self._complete.clear()
            self._tried.clear()

    def build(self) -> None:
        """Begin to build the pyramids of all fields."""
        self._jobs.start(("all", self._generation), self._build_all)

    def span(self, name: str) -> dict[str, float]:
        """Return the times ``first`` and ``last`` of a field's samples, if its pyramid is complete.

        Newer samples are searched for in the background, for the next request.
        """
        pyramid = self._complete.get(name)
        if pyramid is None or pyramid.base.record.first is None:
            return {}
        record = pyramid.base.record
        self._try(name)
        # The samples of the last instant are not stored yet.
        return {"first": record.first, "last": record.identity["until"]}

    def is_being_built(self, name: str) -> bool:
        """Return whether a field's pyramid is not ready, but will be."""
        return name not in self._complete and self._jobs.has(_key(name, self._generation))

    def decimate(self, name: str, wanted: Wanted) -> Decimated | None:
        """Decimate the samples of an interval; return None if the pyramid is not ready."""
        pyramid = self._complete.get(name)
        if pyramid is None:
            self._try(name)
            return None
        if time.monotonic() >= self._release_due:
            self._release_due = time.monotonic() + RELEASE_EVERY
            self._store.release()
        try:
            view = pyramid.view()
            until, tail = view.identity["until"], NOTHING
            if wanted.end > until:
                tail = self._read_numbers(name, max(wanted.start, until), wanted.end)
                if len(tail[0]) > EXTEND_OVER:
                    self._try(name)
            return view.decimate(*wanted, tail)
        except _NotNumbers:
            return None
        except Damaged as damage:
            self._warn(f"the cache is damaged and is rebuilt: {damage}")
            self._store.repair(name, damage)
            if not damage.record.w:
                self._complete.pop(name, None)
            self._tried.pop(name, None)
            return None

    def _try(self, name: str) -> None:
        """Build or extend a pyramid, at most once every `EXTEND_EVERY`."""
        if time.monotonic() - self._tried.get(name, -math.inf) > EXTEND_EVERY:
            self._tried[name] = time.monotonic()
            generation = self._generation
            self._jobs.start(_key(name, generation), lambda: self._make_ready(name, generation))

    def _build_all(self) -> Steps:
        self._entries = self._source.list_fields(EARLIEST, time.time())
        for name, entry in self._entries.items():
            if entry.get("type", "number") != "string":
                self._try(name)
        yield None

    def _make_ready(self, name: str, generation: int) -> Steps:
        """Build a field's pyramid, or extend it."""
        progress = WorkLog(self._source.log, f"building the pyramid of {name!r}")

        def fill() -> Steps:
            pyramid = self._store.open(name)
            known, now = pyramid.base.record.identity, self._source.fingerprint(name)
            is_same = now is not None and known.get("fingerprint") == now
            if "until" in known and not is_same and self._complete.get(name) is not pyramid:
                pyramid = self._store.make(name)
            yield from self._extend(name, pyramid, progress)
            with self._lock:
                if generation == self._generation:
                    self._complete[name] = pyramid
            progress.end(len(pyramid.base))

        try:
            for step in until_stored(self._store, fill):
                if generation != self._generation:
                    return
                yield step
        except _NotNumbers:
            self._tried[name] = math.inf

    def _extend(self, name: str, pyramid: Pyramid, progress: WorkLog) -> Steps:
        """Append the samples from the end of the series until now, window by window."""
        series, entry = pyramid.base, self._entries.get(name, {})
        first = entry.get("first")
        identity = {
            "until": EARLIEST if first is None else first,
            **series.record.identity,
            "fingerprint": self._source.fingerprint(name),
        }
        # Hold back the last instant until a later one arrives: it may get more samples.
        held = NOTHING
        end = max(time.time(), identity["until"])
        for t, values in windows(
            partial(self._read_numbers, name), identity["until"], end, entry.get("interval")
        ):
            t, values = join([held, (t, values)])
            stop = int(np.searchsorted(t, t[-1])) if len(t) else 0
            held = t[stop:], values[stop:]
            if stop:
                identity["until"] = float(t[-1])
                dtype = identity.get("dtype", values.dtype)
                series.append(t[:stop], values[:stop].astype(dtype, copy=False), **identity)
            progress.tell(counted(len(series), "sample"))
            yield None
        if len(held[0]):
            identity["until"] = float(held[0][0])
        series.append(*NOTHING, **identity)
        yield from pyramid.extend()

    def _read_numbers(self, name: str, start: float, end: float) -> Samples:
        t, values = self._read(name, start, end)
        if values.dtype == object:
            # If all values are missing, their type is unknown.
            if any(value is not None for value in values):
                raise _NotNumbers
            values = np.full(len(values), np.nan)
        return t, values


def _key(name: str, generation: int) -> str:
    return f"{name} of generation {generation}"


def windows(
    read: Callable[[float, float], Samples], start: float, end: float, interval: float | None
) -> Iterator[Samples]:
    """Read from `start` to `end` in windows of about a million samples, `interval` apart.

    Windows before the first sample (all windows, without an interval) grow, and are probed before
    they are read. With an interval, a window after a gap has at most eight million samples.
    """
    longest = MANY * interval if interval else MAX_SPAN
    shortest, probe, is_known = min(FIRST_SPAN, longest), min(PROBE, longest), False
    span = shortest
    while start < end:
        # Before 1970 there is little, if anything.
        stop = min(max(start + span, -FIRST_SPAN), end)
        if not is_known and span > shortest:
            ends = (start + (stop - start) * place for place in PLACES)
            if any(len(read(t - probe, t)[0]) * span > MANY * probe for t in ends):
                span = max(span / 2, shortest)
                continue
        t, values = read(start, stop)
        if len(t) > FEW:
            longest = min(longest, MANY * (stop - start) / len(t))
        is_known |= len(t) > (0 if interval else FEW)
        factor = 2.0 if len(t) < FEW else 0.5 if len(t) > MANY else 1.0
        limit = longest if len(t) else GAP_FACTOR * longest
        span = min(span * factor, limit if is_known else max(longest, MAX_SPAN))
        start = stop
        yield t, values


def decimate_windows(
    parts: Iterator[Samples],
    wanted: Wanted,
    progress: WorkLog,
    turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 - it has no state
) -> Decimated:
    """Decimate samples part by part, with the memory of one part; `turn` is held meanwhile."""
    kept, bucket, count = NOTHING, wanted.bucket, 0
    while True:
        with turn:
            part = next(parts, None)
            if part is None:
                break
            count += len(part[0])
            kept, bucket = _merge(kept, part, bucket, wanted.max_points)
            del part
        progress.tell(counted(count, "sample"))
    progress.end(count)
    return Decimated(*kept, bucket, just_after(float(kept[0][-1]) if len(kept[0]) else None))


def _merge(
    kept: Samples, part: Samples, bucket: float | None, max_points: int | None
) -> tuple[Samples, float | None]:
    """Decimate new samples together with the decimated earlier ones."""
    if not len(part[0]):
        return kept, bucket
    if bucket is None and len(kept[0]) + len(part[0]) <= (max_points or 0):
        return join([kept, part]), None
    if max_points is not None:
        # The size only grows as the last time does; decimation composes.
        first = float((kept if len(kept[0]) else part)[0][0])
        bucket = grid.bucket_size_for(first, float(part[0][-1]), max_points)
    # Before they are joined: the part may be large.
    which = grid.decimate(*part, bucket, max_points is not None)
    t, values = join([kept, (part[0][which], part[1][which])])
    which = grid.decimate(t, values, bucket, max_points is not None)
    return (t[which], values[which]), bucket
