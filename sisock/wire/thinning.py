"""Thinning of samples by ``min_stride`` and by ``max_points``; pure numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_WALK_BELOW = 1 / 16
"""Fraction of kept samples under which single look-ups are cheaper than one for every sample."""


def stride_indices(t: np.ndarray, min_stride: float, after: float | None = None) -> np.ndarray:
    """Choose the samples that successively stand at least `min_stride` apart.

    The first sample is kept; from each kept one the next is the earliest that is far enough
    away, so no more is dropped than must be.

    Parameters
    ----------
    t : ndarray, shape (n,)
        UNIX seconds, ascending; equal times are allowed.
    min_stride : float
        Seconds; zero keeps everything.
    after : float, optional
        Time of a sample kept before these, from which the spacing counts.

    Returns
    -------
    ndarray of int, shape (m,)
        Indices into `t`, ascending.
    """
    first = 0 if after is None else _next_index(t, after, min_stride, 0)
    if min_stride <= 0 or first >= len(t):
        return np.arange(first, len(t))
    if (np.diff(t[first:]) >= min_stride).all():
        return np.arange(first, len(t))
    kept = [first]
    if t[-1] - t[first] < _WALK_BELOW * len(t) * min_stride:
        while (index := _next_index(t, t[kept[-1]], min_stride, kept[-1] + 1)) < len(t):
            kept.append(index)
    else:
        following = _all_next_indices(t, min_stride).tolist()
        while (index := following[kept[-1]]) < len(t):
            kept.append(index)
    return np.array(kept, dtype=np.intp)


def _next_index(t: np.ndarray, last: float, min_stride: float, low: int) -> int:
    """Index of the first time from `low` on whose distance to `last` is at least `min_stride`."""
    index = low + int(np.searchsorted(t[low:], last + min_stride))
    # last + min_stride is rounded: make good for the samples that it put on the wrong side.
    while index > low and t[index - 1] - last >= min_stride:
        index -= 1
    while index < len(t) and t[index] - last < min_stride:
        index += 1
    return index


def _all_next_indices(t: np.ndarray, min_stride: float) -> np.ndarray:
    """For every sample, the index of the first later one that is at least `min_stride` away."""
    own = np.arange(len(t))
    index = np.searchsorted(t, t + min_stride)
    while (back := (index > own + 1) & (t[index - 1] - t >= min_stride)).any():
        index -= back
    while (near := (index < len(t)) & (t[np.minimum(index, len(t) - 1)] - t < min_stride)).any():
        index += near
    return index


def overview_indices(values: np.ndarray, max_points: int) -> np.ndarray:
    """Choose samples that keep the picture: every bucket's extremes, both ends, the gaps.

    Buckets are consecutive runs of one number of samples. Of each its smallest and its largest
    are kept, of each run of missing samples (NaN, infinite) the first one, or the last at the
    series' end; if there are too many such gaps the longest. See PROTOCOL.md, max_points.

    Parameters
    ----------
    values : ndarray, shape (n,)
        What is not numbers is thinned evenly.
    max_points : int
        At least 8.

    Returns
    -------
    ndarray of int, shape (m,)
        Indices into `values`, ascending, each once; m is at most `max_points`.
    """
    count = len(values)
    if count <= max_points:
        return np.arange(count)
    if values.dtype.kind not in "fiu":
        return np.arange(max_points) * (count - 1) // (max_points - 1)
    missing = missing_of(values)
    gaps = np.empty(0, dtype=np.intp)
    if missing is not None:
        gaps = _longest_gaps(missing, max_points // GAP_SHARE)
    buckets = (max_points - 2 - len(gaps)) // 2
    extremes = _bucket_extremes(values, missing, -(-count // buckets))
    return np.unique(np.concatenate([[0, count - 1], extremes, gaps]))


GAP_SHARE = 4
"""One part in so many of an overview's samples may show gaps."""


def missing_of(values: np.ndarray) -> np.ndarray | None:
    """Which of some numbers are missing, NaN or infinite, as an array of bool; None if none is."""
    if values.dtype.kind != "f" or (present := np.isfinite(values)).all():
        return None
    return ~present


SMALLEST = (np.argmin, np.inf)
LARGEST = (np.argmax, -np.inf)
"""How one of several numbers is chosen, and what a missing one counts as."""


def row_extremes(
    rows: np.ndarray,
    missing: np.ndarray | None,
    extreme: tuple[Callable[..., np.ndarray], float],
) -> np.ndarray:
    """Find the smallest or the largest number of each row.

    Parameters
    ----------
    rows : ndarray of numbers, shape (m, n)
    missing : ndarray of bool, shape (m, n), or None
        Numbers that are chosen only where a row has no others.
    extreme : tuple
        `SMALLEST` or `LARGEST`.

    Returns
    -------
    ndarray of int, shape (m,)
        Positions in the rows laid end to end.
    """
    choose, last = extreme
    if missing is not None:
        rows = np.where(missing, last, rows)
    return choose(rows, axis=1) + np.arange(len(rows)) * rows.shape[1]


def largest(numbers: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` largest of at least so many numbers, in any order."""
    # np.partition takes up to a hundred times longer where there are many equal numbers.
    least = np.sort(numbers)[-most]
    larger, equal = np.flatnonzero(numbers > least), np.flatnonzero(numbers == least)
    return np.concatenate([larger, equal[: most - len(larger)]])


def _longest_gaps(missing: np.ndarray, most: int) -> np.ndarray:
    """For each of the longest runs of missing samples the index of one of them."""
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) > most:
        longest = largest(ends - starts, most)
        starts, ends = starts[longest], ends[longest]
    # One that reaches to the end is shown by the last sample, which is kept anyway.
    return np.where(ends == len(missing), len(missing) - 1, starts)


def _bucket_extremes(values: np.ndarray, missing: np.ndarray | None, size: int) -> np.ndarray:
    """Indices of the smallest and the largest sample of each run of `size` samples."""
    whole = len(values) // size * size
    found = []
    # The last run may be shorter.
    for first, last in ((0, whole), (whole, len(values))):
        if first == last:
            continue
        shape = (-1, min(size, last - first))
        rows = values[first:last].reshape(shape)
        gone = None if missing is None else missing[first:last].reshape(shape)
        found += [row_extremes(rows, gone, each) + first for each in (SMALLEST, LARGEST)]
    indices = np.concatenate(found)
    # A run of missing samples alone gives nothing.
    return indices if missing is None else indices[~missing[indices]]


def mean_interval(t: np.ndarray) -> float | None:
    """Mean spacing of the times in seconds, or None with fewer than two of them."""
    if len(t) < 2:
        return None
    interval = float(t[-1] - t[0]) / (len(t) - 1)
    return interval if math.isfinite(interval) and interval > 0 else None
