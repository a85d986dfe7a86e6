"""Overviews of an archive that only its author's `read` can read."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sisock.archive.cache import CacheFolder
from sisock.connection.logs import RepeatedWarning
from sisock.store.background import Jobs, WorkLog
from sisock.store.sample_store import STORED_DTYPES, SampleStore
from sisock.wire import thinning
from sisock.wire.arrays import Values
from sisock.wire.protocol import FEWEST_POINTS, Interval

if TYPE_CHECKING:
    from sisock.archive.node import ArchiveNode

FEW = 250_000
"""A window of fewer samples is followed by a longer one."""

MANY = 1_000_000
"""A window of more samples is followed by a shorter one."""

FIRST_SPAN = 86400.0
"""Seconds of the first window after 1970."""

LONGEST_SPAN = 32 * 86400.0
"""Seconds of a window where nobody says how dense the samples are: it may end among many."""

EARLIEST = -1e12
"""UNIX time before all samples."""

EXTEND_OVER = 10_000
"""Samples that are read for each overview before the pyramid is extended by them."""

EXTEND_EVERY = 60.0
"""Seconds between two extensions of one field, or between two tries to build it."""

_APPENDED = 1 << 16
"""Samples appended in one step."""


Read: TypeAlias = Callable[[str, float, float], tuple[np.ndarray, Values]]


class _NotNumbers(Exception):
    """The values cannot be stored."""


class _MixedNumbers(Exception):
    """The values fit into no type that `read` gave so far."""


class _Series:
    """One field's store, and the UNIX time before which it has all samples."""

    def __init__(self, store: SampleStore, as_floats: bool = False) -> None:
        self.store = store
        self.until = EARLIEST
        self._as_floats = as_floats

    def append(self, t: np.ndarray, values: np.ndarray) -> Iterator[None]:
        """Append samples, in small steps."""
        if self._as_floats:
            values = values.astype("<f8")
        for first in range(0, len(t), _APPENDED):
            piece = slice(first, first + _APPENDED)
            try:
                self.store.append(t[piece], values[piece])
            except ValueError:
                # Times are checked already: it is the type.
                raise _MixedNumbers from None
            yield
        self.store.commit({})


class ArchivePyramid:
    """Builds the pyramids of an archive's fields, and answers from those that are complete.

    Nothing says whether what was built in an earlier life is still true, so all begins empty.

    Parameters
    ----------
    archive : ArchiveNode
        Whose `list_fields` and `read` are asked, in a thread of its own.
    read : callable
        As the archive's `read`, but checked and cut to the interval.
    folder : CacheFolder
        Where the pyramids are.
    """

    def __init__(self, archive: ArchiveNode, read: Read, folder: CacheFolder) -> None:
        self._archive = archive
        self._read = read
        self._folder = folder
        self._warn = RepeatedWarning(archive.log)
        self._jobs = Jobs(archive.name, self._warn)
        self._stores: dict[str, SampleStore] = {}
        self._complete: dict[str, _Series] = {}
        self._tried: dict[str, float] = {}
        self._not_numbers: set[str] = set()
        self._generation = 0
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Answer from nothing that was read before."""
        with self._lock:
            self._generation += 1
            self._complete.clear()
            self._not_numbers.clear()

    def build(self) -> None:
        """Begin to build the pyramids of all fields."""
        for name in list(self._tried):
            self._start(name, anew=True)
        self._jobs.start("list_fields", self._list)

    def overview(
        self, name: str, interval: Interval, max_points: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return few samples of a field that keep the picture, or None if it is not built yet."""
        series = self._complete.get(name)
        if series is None:
            self._start_again(name)
            return None
        until, end = series.until, interval.end
        stored = series.store.read(interval.start, min(end, until))
        if end <= until:
            return series.store.overview(interval.start, end, max_points)
        try:
            rest = self._read_numbers(name, max(interval.start, until), end)
        except _NotNumbers:
            return None
        if len(rest[0]) > EXTEND_OVER:
            self._start_again(name)
        if len(stored[0]) + len(rest[0]) <= max_points:
            return _join(stored, rest)
        share = max(len(rest[0]) * max_points // (len(stored[0]) + len(rest[0])), FEWEST_POINTS)
        share = min(share, len(rest[0]))
        if max_points - share < FEWEST_POINTS:
            return None
        which = thinning.overview_indices(rest[1], max(share, FEWEST_POINTS))
        few = series.store.overview(interval.start, until, max_points - share)
        return _join(few, (rest[0][which], rest[1][which]))

    def _start(self, name: str, anew: bool = False) -> None:
        generation = self._generation
        self._tried[name] = time.monotonic()
        self._jobs.start(name, lambda: self._make_ready(name, generation), anew)

    def _start_again(self, name: str) -> None:
        """Extend a pyramid, or try once more to build it, but not too often."""
        is_due = time.monotonic() - self._tried.get(name, -math.inf) > EXTEND_EVERY
        if is_due and name not in self._not_numbers:
            self._start(name)

    def _list(self) -> Iterator[None]:
        for name, entry in self._archive.list_fields(EARLIEST, time.time()).items():
            if entry.get("type", "number") == "number":
                self._start(name)
        self._jobs.start("overviews", self._tell)
        yield

    def _tell(self) -> Iterator[None]:
        """Log that what was begun before is done."""
        if ready := len(self._complete):
            self._archive.log.info("overviews are ready, of {ready} fields", ready=ready)
        yield

    def _make_ready(self, name: str, generation: int) -> Iterator[None]:
        """Build a field's pyramid, or extend it."""
        series = self._complete.get(name)
        if series is None:
            if name not in self._stores:
                self._stores[name] = self._folder.open_store(name)
            series = _Series(self._stores[name])
            series.store.clear()
        progress = WorkLog(self._archive.log, f"building the pyramid of {name!r}")
        try:
            yield from self._extend(name, series, progress)
        except _NotNumbers:
            self._not_numbers.add(name)
            return
        except _MixedNumbers:
            self._complete.pop(name, None)
            series.store.clear()
            series = _Series(series.store, as_floats=True)
            yield from self._extend(name, series, progress)
        progress.end(len(series.store))
        with self._lock:
            if generation == self._generation:
                self._complete[name] = series

    def _extend(self, name: str, series: _Series, progress: WorkLog) -> Iterator[None]:
        """Take what `read` gives from where the series ends until now, window by window."""
        longest, span, now = self._longest_span(name), FIRST_SPAN, time.time()
        start, end = series.until, max(series.until, -FIRST_SPAN)
        # Others of the last instant may still come, so it waits until there is a later one.
        held = np.empty(0), np.empty(0)
        while end < now:
            end = end + span if end + span < now else now
            t, values = self._read_numbers(name, start, end)
            span = min(_next_span(span, len(t)), longest)
            start = end
            if len(t):
                t, values = _join(held, (t, values)) if len(held[0]) else (t, values)
                stop = int(np.searchsorted(t, t[-1]))
                held = t[stop:], values[stop:]
                yield from series.append(t[:stop], values[:stop])
                series.until = float(t[-1])
            progress.tell(f"{len(series.store)} samples")
            yield

    def _read_numbers(self, name: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        t, values = self._read(name, start, end)
        if isinstance(values, list):
            # Where all are missing, nothing says of what type they are.
            if any(value is not None for value in values):
                raise _NotNumbers
            values = np.full(len(values), np.nan)
        if values.dtype.str not in STORED_DTYPES:
            raise _NotNumbers
        return t, values

    def _longest_span(self, name: str) -> float:
        entry = self._archive.list_fields(EARLIEST, time.time()).get(name, {})
        interval = entry.get("interval")
        return max(FIRST_SPAN, MANY * interval) if interval else LONGEST_SPAN


def _next_span(span: float, count: int) -> float:
    if count < FEW:
        return span * 2
    return span / 2 if count > MANY else span


def _join(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([before[0], after[0]]), np.concatenate([before[1], after[1]])
