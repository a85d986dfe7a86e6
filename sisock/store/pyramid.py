"""Decimated levels of a field's samples, and views that answer from them exactly."""

from __future__ import annotations

import math
import weakref
from collections.abc import Generator, Iterable, Iterator

import numpy as np

from sisock.store.series import NOTHING, Samples, Series, Snapshot
from sisock.wire import grid
from sisock.wire.grid import bucket_start
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT

LEVEL_STEP = 4
MIN_SPACINGS = 4
"""Exponents between the bucket sizes of two levels; mean spacings in the finest one's buckets."""

MIN_BELOW = 1 << 14
"""Samples that are decimated as fast as a level of them is read."""

_AT_ONCE = 1 << 18
"""Samples that are decimated in one step."""


class Pyramid:
    """The samples of one field (`base`), and their decimated levels.

    A level holds what the buckets of its size keep, for all buckets before a time ``until``.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = {one.record.w: one for one in series}
        self._chosen_at = 0
        self.base = self._series[0.0]

    def view(self) -> View:
        """Return a view of what is committed now."""
        # Coarse levels first, so that none is ahead of one below, and the samples last.
        *levels, samples = [one.snapshot() for _, one in sorted(self._series.items(), reverse=True)]
        return View(self, samples, levels)

    def file_names(self) -> list[str]:
        """Return the names of the files of all series."""
        return [name for one in self._series.values() for name in one.record.files]

    def remove_with_last_reader(self) -> None:
        """Remove the files as soon as nobody has a view of them any more."""
        for one in self._series.values():
            weakref.finalize(self, one.remove_files)

    def drop_levels(self) -> None:
        """Answer from the samples, and have the levels made anew."""
        self._series, self._chosen_at = {0.0: self.base}, 0

    def is_due(self) -> bool:
        """Whether there are many samples behind the finest level, or twice those at its choice."""
        samples, (_, *levels) = self.base.snapshot(), sorted(self._series)
        if not levels or len(samples) >= 2 * self._chosen_at:
            return len(samples) > max(MIN_BELOW, 2 * self._chosen_at - 1)
        return len(samples) - samples.find(_until(self._series[levels[0]])) > MIN_BELOW

    def extend(self) -> Iterator[None]:
        """Bring the levels up to the samples, in small steps; raises `CannotStore`, `Damaged`."""
        below, sizes = self.base, set(self._series) - {0.0}
        if len(below) > MIN_BELOW and len(below) >= 2 * self._chosen_at:
            sizes |= self._choose()
        for w in sorted(sizes):
            if len(below) <= MIN_BELOW:
                break
            level = self._series.get(w) or self.base.level(w)
            if (yield from _extend(level, below)):
                self._series = {**self._series, w: level}
                below = level

    def _choose(self) -> set[float]:
        """Choose the bucket sizes: from a few mean spacings to the length of the series."""
        record = self.base.record
        assert record.first is not None and record.last is not None
        span, self._chosen_at = record.last - record.first, record.count
        size = max(MIN_SPACINGS * span / record.count, 2.0**MIN_EXPONENT)
        finest = math.ceil(math.log2(size) / LEVEL_STEP) * LEVEL_STEP
        sizes = (2.0**exponent for exponent in range(finest, MAX_EXPONENT + 1, LEVEL_STEP))
        return {w for w in sizes if w < span}


def _until(level: Series | Snapshot) -> float:
    """Return the time before which a level has all buckets."""
    return float(level.record.identity.get("until", -math.inf))


def _extend(level: Series, below: Series) -> Generator[None, None, bool]:
    """Append what the buckets keep that nothing below can change any more.

    Returns False if that begins with more than half of what is below.
    """
    w, samples = level.record.w, below.snapshot()
    # A level below is complete up to a bucket of its own, samples up to that of the last one.
    end = _until(below) if below.record.w else samples.time(len(samples) - 1)
    start, until = samples.find(_until(level)), bucket_start(end, w)
    stop = samples.find(until)
    while start < stop:
        end, end_time = min(start + _AT_ONCE, stop), until
        if end < stop:
            last = bucket_start(samples.time(end), w)
            # A bucket that is longer than a step is taken as one part.
            end_time = last if samples.find(last) > start else last + w
            end = min(samples.find(end_time), stop)
        t, values = samples.samples(start, end)
        kept = grid.decimate(t, values, w)
        if not len(level) and 2 * len(kept) > len(t):
            return False
        level.append(t[kept], values[kept], until=end_time)
        start = end
        yield
    return True


class View:
    """The samples of one field at one moment; it stays the same, whatever is appended.

    Its methods raise `Damaged` if what they need is not as it was stored. `tail` are later
    samples, `last` is the last one's time. The files are there for as long as their `owner`.
    """

    def __init__(
        self, owner: Pyramid, samples: Snapshot, levels: list[Snapshot], tail: Samples = NOTHING
    ) -> None:
        self.identity = samples.record.identity
        self.last = float(tail[0][-1]) if len(tail[0]) else samples.record.last
        self._owner = owner
        self._base = samples
        self._levels = levels
        self._tail = tail

    def with_tail(self, t: np.ndarray, values: np.ndarray) -> View:
        """Return a view with later samples behind these."""
        return View(self._owner, self._base, self._levels, (t, values))

    def samples(self, start: float, end: float) -> Samples:
        """Return the samples of an interval in UNIX seconds, half-open."""
        return self._slice(self._find(start), self._find(end))

    def decimated(self, start: float, end: float, w: float) -> Samples:
        """Return what the buckets of size `w` keep of the interval's samples."""
        first, stop = self._find(start), self._find(end)
        if first == stop:
            return self._slice(0, 0)
        # Beyond the samples all buckets are empty.
        low = max(start, bucket_start(self._time(first), w))
        high = min(end, bucket_start(self._time(stop - 1), w) + w)
        t, values = self._gather(first, stop, low, high, w)
        kept = grid.decimate(t, values, w)
        return t[kept], values[kept]

    def few(self, start: float, end: float, max_points: int) -> tuple[Samples, float | None]:
        """Return at most `max_points` samples of the interval, and the size of the buckets.

        They are all samples, and the size is None; or what the buckets keep, the first and the
        last sample.
        """
        first, stop = self._find(start), self._find(end)
        if stop - first <= max_points:
            return self._slice(first, stop), None
        ends = self._time(first), self._time(stop - 1)
        w = grid.bucket_size_for(*ends, max_points)
        # The buckets of both ends are read from the samples, so that these ends are among them.
        low = math.nextafter(ends[0], math.inf)
        t, values = self._gather(first, stop, low, max(low, ends[1]), w)
        kept = grid.with_ends(grid.decimate(t, values, w), len(t))
        return (t[kept], values[kept]), w

    def _gather(self, first: int, stop: int, low: float, high: float, w: float) -> Samples:
        """Return what gives the same buckets of size `w` as the samples, but is far less.

        Levels give whole buckets between the times `low` and `high`, the samples by index the rest.
        """
        if stop - first <= MIN_BELOW:
            return self._slice(first, stop)
        cover = self._cover([each for each in self._levels if each.record.w <= w], low, high)
        ends = self._slice(first, self._find(low)), self._slice(self._find(high), stop)
        parts = [part for part in (ends[0], *cover, ends[1]) if len(part[0])]
        return np.concatenate([t for t, _ in parts]), np.concatenate([v for _, v in parts])

    def _cover(self, levels: list[Snapshot], low: float, high: float) -> Iterator[Samples]:
        """Cover a time by the coarsest level with whole buckets in it, its ends by finer ones."""
        for i, level in enumerate(levels):
            size = level.record.w
            begin, end = bucket_start(low, size), min(bucket_start(high, size), _until(level))
            begin = begin if begin >= low else begin + size
            if begin < end:
                yield from self._cover(levels[i + 1 :], low, begin)
                yield level.samples(level.find(begin), level.find(end))
                yield from self._cover(levels[i + 1 :], end, high)
                return
        if low < high:
            yield self._slice(self._find(low), self._find(high))

    def _find(self, time: float) -> int:
        stored = self._base.find(time)
        if stored < len(self._base):
            return stored
        return stored + int(self._tail[0].searchsorted(time))

    def _time(self, index: int) -> float:
        stored = len(self._base)
        return self._base.time(index) if index < stored else float(self._tail[0][index - stored])

    def _slice(self, start: int, stop: int) -> Samples:
        stored = len(self._base)
        if stop <= stored > 0:
            return self._base.samples(start, stop)
        behind = slice(max(start - stored, 0), stop - stored)
        t, values = self._tail[0][behind], self._tail[1][behind]
        if start >= stored:
            return t, values
        before = self._base.samples(start, stored)
        return np.concatenate([before[0], t]), np.concatenate([before[1], values])
