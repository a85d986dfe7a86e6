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
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else None
    if missing is None or not missing.any():
        missing, gaps = None, np.empty(0, dtype=np.intp)
    else:
        gaps = _longest_gaps(missing, max_points // GAP_SHARE)
    buckets = (max_points - 2 - len(gaps)) // 2
    smallest, largest = bucket_extremes(values, missing, -(-count // buckets))
    return np.unique(np.concatenate([[0, count - 1], smallest, largest, gaps]))


GAP_SHARE = 4
"""One part in so many of an overview's samples may show gaps."""


def _longest_gaps(missing: np.ndarray, most: int) -> np.ndarray:
    """For each of the longest runs of missing samples the index of one of them."""
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) > most:
        longest = np.argpartition(starts - ends, most - 1)[:most]
        starts, ends = starts[longest], ends[longest]
    # One that reaches to the end is shown by the last sample, which is kept anyway.
    return np.where(ends == len(missing), len(missing) - 1, starts)


def bucket_extremes(
    values: np.ndarray, missing: np.ndarray | None, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the smallest and the largest sample of each run of `size` samples.

    Parameters
    ----------
    values : ndarray of numbers, shape (n,)
    missing : ndarray of bool, shape (n,), or None
        Samples that do not count; a run of these alone gives nothing.
    size : int
        Samples of each run; the last one may be shorter.

    Returns
    -------
    smallest, largest : ndarray of int
        Indices into `values`, ascending.
    """
    low = values if missing is None else np.where(missing, np.inf, values)
    high = values if missing is None else np.where(missing, -np.inf, values)
    smallest, largest = _arg_of_runs(low, size, np.argmin), _arg_of_runs(high, size, np.argmax)
    if missing is not None:
        smallest, largest = smallest[~missing[smallest]], largest[~missing[largest]]
    return smallest, largest


def _arg_of_runs(values: np.ndarray, size: int, arg: Callable[..., np.ndarray]) -> np.ndarray:
    whole = len(values) // size
    found = arg(values[: whole * size].reshape(whole, size), axis=1) + np.arange(whole) * size
    if whole * size < len(values):
        found = np.append(found, arg(values[whole * size :]) + whole * size)
    return found


def mean_interval(t: np.ndarray) -> float | None:
    """Mean spacing of the times in seconds, or None with fewer than two of them."""
    if len(t) < 2:
        return None
    interval = float(t[-1] - t[0]) / (len(t) - 1)
    return interval if math.isfinite(interval) and interval > 0 else None
