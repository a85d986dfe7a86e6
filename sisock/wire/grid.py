"""Decimate samples, by the buckets of the protocol's grid or by a minimum spacing; numpy only.

`js/grid.js` implements the same grid for the page.
A bucket is ``[i w, (i + 1) w)``, where `w` is a power of two and ``i = floor(t / w)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sisock.wire.arrays import Span
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT, Interval

_EXACT = 2.0**52
_FEW_BUCKETS = 16  # with more samples per bucket, searching for edges beats comparing all samples
_LARGE = 1500  # with more samples per bucket, a loop over buckets beats one numpy call
_WALK_BELOW = 1 / 16  # if a smaller fraction is kept, one search per kept sample is faster


class Wanted(NamedTuple):
    """An interval to decimate: to buckets of one size, to at most `max_points`, or not at all."""

    start: float
    end: float
    bucket: float | None = None
    max_points: int | None = None


def bucket_of(t: Any, w: float) -> Any:
    """Return the bucket number of a time, or of each time in an array, as float64."""
    return np.floor(np.asarray(t, dtype="<f8") / w)


def bucket_start(t: float, w: float) -> float:
    """Return the start of the bucket that contains a time."""
    return float(np.floor(t / w)) * w


def bucket_size_for(first: float, last: float, max_points: int) -> float:
    """Return the smallest bucket size with at most `max_points`: two per bucket, and both ends."""
    # Sizes beyond the grid's range occur only if the times are not in seconds.
    buckets = max_points // 2 - 1
    at_least = (last / 2 - first / 2) / buckets
    least_exponent = math.frexp(at_least)[1] - 1 if at_least else MIN_EXPONENT
    for exponent in range(min(max(MIN_EXPONENT, least_exponent), 1023), 1024):
        w = math.ldexp(1.0, exponent)
        if math.floor(last / w) - math.floor(first / w) < buckets:
            break
    return w


def bucket_size_of_view(interval: Interval, points: int) -> float:
    """Return the smallest bucket size that gives a view at most `points` samples."""
    lowest = math.frexp((interval.end - interval.start) * 2 / points)[1] - 1
    for exponent in range(max(lowest, MIN_EXPONENT), MAX_EXPONENT):
        w = math.ldexp(1.0, exponent)
        if 2 * (math.ceil(interval.end / w) - math.floor(interval.start / w)) <= points:
            return w
    return math.ldexp(1.0, MAX_EXPONENT)


def bucket_size_of_spacing(spacing: float) -> float:
    """Return the largest bucket size with at most one sample per bucket of regular data."""
    exponent = math.frexp(1.01 * spacing)[1] - 1
    return math.ldexp(1.0, min(max(exponent, MIN_EXPONENT), MAX_EXPONENT))


def plan_reading(
    start: float, end: float, spans: Sequence[Span], bucket: float | None, max_points: int | None
) -> tuple[float | None, list[tuple[float, float, float]]]:
    """Choose the bucket size (None to keep all samples), and the intervals to read.

    `spans` describes the samples from `start` to `end`, in order. Each returned interval is
    ``(start, end, w)``: it may be read from samples already decimated to buckets of at most `w`.
    """
    if max_points is None or sum(count for count, _, _ in spans) <= max_points:
        return bucket, [(start, end, bucket or 0.0)]
    first, last = spans[0][1], spans[-1][2]
    w = bucket_size_for(first, last, max_points)
    # Read both ends undecimated, as the first and the last sample must be kept.
    after = math.nextafter(first, math.inf)
    return w, [(first, after, 0.0), (after, last, w), (last, end, 0.0)]


def edges(t: np.ndarray, w: float | None) -> np.ndarray:
    """Return the index of the first sample of each of m non-empty buckets, and ``len(t)``.

    The times ascend; the result has shape (m + 1,). If `w` is None, each sample is a bucket.
    """
    if w is None or not len(t):
        return np.arange(len(t) + 1)
    first, last = np.floor(t[0] / w), np.floor(t[-1] / w)
    if (last - first) * _FEW_BUCKETS < len(t) and max(-first, last) < _EXACT:
        starts = np.zeros(int(last - first) + 2, dtype=np.intp)
        starts[1:-1] = t.searchsorted(np.arange(first + 1, last + 1) * w)
        starts[-1] = len(t)
        is_new = np.append(True, starts[1:] > starts[:-1])  # drop the starts of empty buckets
        return starts[is_new]
    buckets = np.floor(t / w)
    is_new = np.ones(len(t) + 1, dtype=bool)
    np.not_equal(buckets[1:], buckets[:-1], out=is_new[1:-1])
    return np.flatnonzero(is_new)


def keep(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the ascending, unique indices of the samples that each bucket keeps, at most two.

    `starts` is the result of `edges`.
    """
    count = len(starts) - 1
    if count == starts[-1]:
        return np.arange(count)
    numbers = _as_numbers(values)
    if numbers is None:
        low, high = starts[:-1], _first_other(values, starts)
    else:
        low, high = _extremes(numbers, starts)
    pairs = np.empty(2 * count, dtype=np.intp)
    np.minimum(low, high, out=pairs[::2])
    np.maximum(low, high, out=pairs[1::2])
    is_new = np.ones(2 * count, dtype=bool)
    np.not_equal(low, high, out=is_new[1::2])
    return pairs[is_new]


def decimate(
    t: np.ndarray, values: np.ndarray, w: float | None, has_ends: bool = False
) -> np.ndarray:
    """Return the ascending indices of the samples that buckets of size `w` keep; None keeps all.

    With `has_ends` the first and the last sample are always kept.
    """
    kept = keep(values, edges(t, w))
    return with_ends(kept, len(t)) if has_ends else kept


def decimate_by(
    t: np.ndarray, values: np.ndarray, bucket: float | None, max_points: int | None
) -> tuple[np.ndarray, float | None]:
    """Decimate to buckets of size `bucket`, or to at most `max_points` samples with both ends.

    Returns the ascending indices of the kept samples, and the bucket size (None: all are kept).
    """
    if max_points is None:
        return decimate(t, values, bucket), bucket
    w = bucket_size_for(float(t[0]), float(t[-1]), max_points) if len(t) > max_points else None
    return decimate(t, values, w, has_ends=True), w


def with_ends(kept: np.ndarray, count: int) -> np.ndarray:
    """Add the first and the last of `count` samples to the indices if they are missing."""
    if len(kept) == count:
        return kept
    low, high = kept[0] > 0, kept[-1] < count - 1
    return np.concatenate([np.arange(low), kept, np.arange(count - high, count)])


def place(
    extremes: Mapping[float, tuple[Any, Any]], w: float, start: float, end: float
) -> tuple[list[float], list[Any]]:
    """Return the times and values of extremes, where only the bucket of each is known.

    `extremes` maps the start of a bucket to its smallest and largest value (both None if all values
    are missing). These get the times of the bucket's start and middle, moved into the interval.
    """
    t: list[float] = []
    values: list[Any] = []
    last = math.nextafter(end, -math.inf)
    for bucket in sorted(extremes):
        low, high = extremes[bucket]
        t.append(max(bucket, start))
        values.append(low)
        if high != low:
            t.append(min(max(bucket + w / 2, start), last))
            values.append(high)
    return t, values


def stride_indices(t: np.ndarray, min_stride: float, after: float | None = None) -> np.ndarray:
    """Return the ascending indices of samples that are at least `min_stride` seconds apart.

    Keeps the first sample, then each time the next one that is far enough from the last one kept.
    `after` is the time of an earlier kept sample, if any. A `min_stride` of zero keeps all samples.
    """
    if min_stride <= 0:
        return np.arange(len(t))
    first = 0 if after is None else _next_index(t, after, min_stride, 0)
    if (np.diff(t[first:]) >= min_stride).all():
        return np.arange(first, len(t))
    last, kept = -math.inf if after is None else after, []
    if len(t) and t[-1] - t[0] < _WALK_BELOW * len(t) * min_stride:
        index = -1
        while (index := _next_index(t, last, min_stride, index + 1)) < len(t):
            kept.append(index)
            last = t[index]
    else:
        for index, time in enumerate(t.tolist()):
            if time - last >= min_stride:
                kept.append(index)
                last = time
    return np.array(kept, dtype=np.intp)


def _next_index(t: np.ndarray, last: float, min_stride: float, low: int) -> int:
    """Return the first index from `low` on that is at least `min_stride` after `last`."""
    index = low + int(np.searchsorted(t[low:], last + min_stride))
    # last + min_stride is rounded: move the index past samples on the wrong side.
    while index > low and t[index - 1] - last >= min_stride:
        index -= 1
    while index < len(t) and t[index] - last < min_stride:
        index += 1
    return index


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
    """Return numbers and booleans as an array, with NaN for missing ones; None for strings."""
    if values.dtype != object:
        return values.view(np.uint8) if values.dtype.kind == "b" else values
    return None if str in set(map(type, values)) else values.astype("<f8")


def _first_other(texts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return per bucket the index of the first text unlike the bucket's first, or of its last."""
    firsts, ends = texts[starts[:-1]], starts[1:]
    differs = np.append(np.flatnonzero(texts != np.repeat(firsts, np.diff(starts))), len(texts))
    found = differs[np.searchsorted(differs, starts[:-1])]
    is_missing = firsts == None  # noqa: E711 - item by item; a bucket without texts keeps its first
    return np.where(found < ends, found, np.where(is_missing, starts[:-1], ends - 1))


def _extremes(numbers: np.ndarray, starts: np.ndarray) -> list[np.ndarray]:
    """Return per bucket the index of its first minimum, and of its first maximum."""
    sizes = starts[1:] - starts[:-1]
    if len(sizes) > 2 and (sizes[1:-1] == sizes[1]).all():
        find = _in_rows
    elif len(sizes) * _LARGE < starts[-1]:
        find = _one_by_one
    else:
        find = _all_at_once
    if find is not _all_at_once or numbers.dtype.kind != "f":
        found = [find(numbers, starts, choose) for choose in (np.argmin, np.argmax)]
        # argmin and argmax would have found a NaN: so none of the numbers is missing.
        if all(np.isfinite(numbers[indices]).all() for indices in found):
            return found
    low, high = numbers, numbers
    if not (finite := np.isfinite(numbers)).all():
        # In a bucket without numbers all values are now equal: its first sample is both extremes.
        low, high = np.where(finite, numbers, np.inf), np.where(finite, numbers, -np.inf)
    return [find(low, starts, np.argmin), find(high, starts, np.argmax)]


_Choose = Callable[..., Any]


def _in_rows(numbers: np.ndarray, starts: np.ndarray, choose: _Choose) -> np.ndarray:
    """Return the indices for regular data: all buckets but the first and last have equal length."""
    inner, found = starts[1:-1], starts[:-1].copy()
    rows = numbers[inner[0] : inner[-1]].reshape(len(inner) - 1, -1)
    found[0] += choose(numbers[: inner[0]])
    found[1:-1] += choose(rows, axis=1)
    found[-1] += choose(numbers[inner[-1] :])
    return found


def _one_by_one(numbers: np.ndarray, starts: np.ndarray, choose: _Choose) -> np.ndarray:
    return starts[:-1] + [choose(numbers[i:j]) for i, j in pairwise(starts.tolist())]


def _all_at_once(numbers: np.ndarray, starts: np.ndarray, choose: _Choose) -> np.ndarray:
    extreme = np.minimum if choose is np.argmin else np.maximum
    found = extreme.reduceat(numbers, starts[:-1])
    hits = np.flatnonzero(numbers == np.repeat(found, np.diff(starts)))
    return hits[np.searchsorted(hits, starts[:-1])]
