"""Decimated levels of a field's samples, and views that answer from them exactly."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sisock.store.series import NOTHING, Series, Snapshot
from sisock.wire import grid
from sisock.wire.arrays import Samples, Span, join, span_of
from sisock.wire.grid import bucket_start
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT
from sisock.wire.reply import Decimated, just_after

_T = TypeVar("_T")

_STEP = 4  # the bucket sizes of two levels differ by a factor of 2^4
_MIN_SPACINGS = 4  # mean spacings in a bucket of the finest level
MIN_BELOW = 1 << 14  # samples; decimating no more is as fast as reading a level
_AT_ONCE = 1 << 18  # samples that are decimated in one step


class Pyramid:
    """The samples of one field (`base`), and their decimated levels.

    A level holds the samples that buckets of its size keep, complete before a time ``until``.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = {one.record.w: one for one in series}
        # Numbers of samples when the sizes of levels were chosen, and when these were extended.
        self._chosen_at, self._extended_at = 0, 0
        self.base = self._series[0.0]

    def view(self) -> View:
        """Return a view of what is committed now."""
        # Coarse levels first and samples last, so that no level is ahead of one below.
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
        """Forget all levels; `extend` makes new ones."""
        self._series, self._chosen_at, self._extended_at = {0.0: self.base}, 0, 0

    def extend(self) -> Iterator[None]:
        """Extend the levels by the new samples if there are many, in small steps.

        If the samples have doubled, the sizes of levels are chosen again. Raises `CannotStore`,
        `Damaged`.
        """
        below, sizes, count = self.base, set(self._series) - {0.0}, len(self.base)
        if count - self._extended_at <= MIN_BELOW:
            return
        if count >= 2 * self._chosen_at:
            sizes |= self._choose()
        for w in sorted(sizes):
            if len(below) <= MIN_BELOW:
                break
            level = self._series.get(w) or self.base.level(w)
            if (yield from _extend(level, below)):
                self._series = {**self._series, w: level}
                below = level
        if self._chosen_at:  # otherwise the levels were dropped meanwhile
            self._extended_at = count

    def _choose(self) -> set[float]:
        """Choose the bucket sizes of the levels."""
        record = self.base.record
        assert record.first is not None and record.last is not None
        self._chosen_at = record.count
        return set(level_sizes(record.last - record.first, record.count))


def level_sizes(span: float, count: int) -> list[float]:
    """Return the bucket sizes of levels: from a few mean spacings to the length of the samples."""
    least = max(_MIN_SPACINGS * span / count, 2.0**MIN_EXPONENT)
    finest = math.ceil(math.log2(least) / _STEP) * _STEP
    sizes = (2.0**exponent for exponent in range(finest, MAX_EXPONENT + 1, _STEP))
    return [w for w in sizes if w < span]


def _extend(level: Series, below: Series) -> Generator[None, None, bool]:
    """Append to a level all buckets that are complete in the level below.

    Returns False if the first ones keep more than half of the samples: such a level is useless.
    """
    w, samples = level.record.w, below.snapshot()
    # A level below is complete up to its `until`, samples up to the bucket of the last one.
    end = below.record.until if below.record.w else samples.time(len(samples) - 1)
    start, until = samples.find(level.record.until), bucket_start(end, w)
    stop = samples.find(until)
    while start < stop:
        end, end_time = min(start + _AT_ONCE, stop), until
        if end < stop:
            last = bucket_start(samples.time(end), w)
            # A bucket with more samples than a step is decimated as a whole.
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
    """The samples of one field at one moment; later changes do not show.

    Its methods raise `Damaged` if what they read is not what was written. The files exist for as
    long as the `owner`.
    """

    def __init__(self, owner: Pyramid, samples: Snapshot, levels: list[Snapshot]) -> None:
        self.identity = samples.record.identity
        self._owner = owner
        self._base = samples
        self._levels = levels

    def samples(self, start: float, end: float) -> Samples:
        """Return the samples of an interval in UNIX seconds, half-open."""
        return self._base.between(start, end)[0]

    def span(self, start: float, end: float) -> Span | None:
        """Return count, first and last time of an interval's samples."""
        return self._base.span(start, end)

    def decimate(
        self,
        start: float,
        end: float,
        bucket: float | None,
        max_points: int | None,
        tail: Samples = NOTHING,
    ) -> Decimated:
        """Decimate an interval to buckets of one size, or to at most `max_points` samples.

        `tail` has samples of the interval that are later than those of the view.
        """
        base = self._base
        own, later = base.span(start, end), span_of(tail[0])
        spans = [each for each in (own, later) if each is not None]
        w, asked = grid.plan_reading(start, end, spans, bucket, max_points)
        levels = self._levels if own is not None and own[0] > MIN_BELOW else []
        parts: list[Samples] = []
        for low, high, size in asked:
            usable = [level for level in levels if level.w <= size]
            parts += cover(usable, low, high, base.between)
        t, values = join([*parts, tail])
        kept = grid.decimate(t, values, w, max_points is not None)
        last = base.record.last if later is None else later[2]
        return Decimated(t[kept], values[kept], w, just_after(last))


def cover(
    levels: Sequence[Any], start: float, end: float, read: Callable[[float, float], Iterable[_T]]
) -> Iterator[_T]:
    """Yield far fewer samples that decimate to the same buckets as all samples of an interval.

    The `levels` come coarsest first. A level covers the whole buckets that it has in the interval;
    finer levels cover the rest, and finally `read`, which returns all samples. A level has the
    size `w` of its buckets, the time `until` which it is complete, and ``between(start, end)``.
    """
    for i, level in enumerate(levels):
        low, high = bucket_start(start, level.w), min(bucket_start(end, level.w), level.until)
        low = low if low >= start else low + level.w
        if low < high:
            yield from cover(levels[i + 1 :], start, low, read)
            yield from level.between(low, high)
            yield from cover(levels[i + 1 :], high, end, read)
            return
    if start < end:
        yield from read(start, end)
