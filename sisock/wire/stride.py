"""Choose samples at least `min_stride` apart; numpy only."""

from __future__ import annotations

import numpy as np

_WALK_BELOW = 1 / 16
"""Fraction of kept samples below which single searches are faster than one for all samples."""


def stride_indices(t: np.ndarray, min_stride: float, after: float | None = None) -> np.ndarray:
    """Choose the first sample, and from each chosen one the next that is far enough away.

    Returns ascending indices. The spacing counts from `after`, the time of a sample kept before
    these, if it is given; a `min_stride` of zero keeps everything.
    """
    first = 0 if after is None else _next_index(t, after, min_stride, 0)
    if min_stride <= 0 or first >= len(t) or (np.diff(t[first:]) >= min_stride).all():
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
    """Return the first index from `low` on that is at least `min_stride` after `last`."""
    index = low + int(np.searchsorted(t[low:], last + min_stride))
    # last + min_stride is rounded: correct for samples on the wrong side of it.
    while index > low and t[index - 1] - last >= min_stride:
        index -= 1
    while index < len(t) and t[index] - last < min_stride:
        index += 1
    return index


def _all_next_indices(t: np.ndarray, min_stride: float) -> np.ndarray:
    """Return for every sample the index of the first one at least `min_stride` later."""
    own = np.arange(len(t))
    index = np.searchsorted(t, t + min_stride)
    while (back := (index > own + 1) & (t[index - 1] - t >= min_stride)).any():
        index -= back
    while (near := (index < len(t)) & (t[np.minimum(index, len(t) - 1)] - t < min_stride)).any():
        index += near
    return index
