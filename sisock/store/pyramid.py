"""Overviews of long series in little time, from extremes computed beforehand; pure numpy.

Level k of a pyramid has one entry for every 2^k consecutive samples: where the smallest and the
largest of them are. An overview reads a number of entries that is proportional to the samples that
it answers with, whatever the length of the series. See PROTOCOL.md, max_points.

Missing samples are NaN or infinite; integers are never missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sisock.wire.protocol import FEWEST_POINTS
from sisock.wire.thinning import GAP_SHARE, LARGEST, SMALLEST, largest, missing_of, row_extremes

FIRST_LEVEL = 8
"""Samples themselves serve for smaller buckets: 2^8 of them are read as fast as one entry."""

LEVEL_STEP = 3
"""A bucket of a size between two levels is combined from at most 2^(step - 1) entries."""

GAP_BLOCK = 256
"""Gaps of which the longest is known beforehand."""

GAP_DTYPE = np.dtype([("start", "<i8"), ("length", "<i8"), ("t", "<f8")])
"""A run of missing samples: index of its first one, number of them, time of its first one."""


EXTREMES = {"min": SMALLEST, "max": LARGEST}


def entry_dtype(dtype: np.dtype) -> np.dtype:
    """Say of what type the entries of a level are, for values of type `dtype`.

    Returns
    -------
    dtype
        Fields ``index_min``, ``t_min`` and ``min`` for the smallest sample that is not missing,
        ``index_max``, ``t_max`` and ``max`` for the largest; of equal ones the first. If all are
        missing, the indices are -1, and times and values NaN.
    """
    columns = [("index_min", "<i8"), ("index_max", "<i8"), ("t_min", "<f8"), ("t_max", "<f8")]
    return np.dtype([*columns, ("min", dtype), ("max", dtype)])


def levels_of(count: int) -> range:
    """Levels that have at least one complete entry, for a series of `count` samples."""
    return range(FIRST_LEVEL, count.bit_length(), LEVEL_STEP)


def entries_of_samples(t: np.ndarray, values: np.ndarray, first: int, size: int) -> np.ndarray:
    """Compute entries from samples.

    Parameters
    ----------
    t, values : ndarray, shape (m * size,)
        UNIX seconds and numbers.
    first : int
        Index of the first of these samples in the series.
    size : int
        Samples of each entry.

    Returns
    -------
    ndarray of `entry_dtype`, shape (m,)
    """
    rows = values.reshape(-1, size)
    missing = missing_of(rows)
    entries = np.empty(len(rows), dtype=entry_dtype(values.dtype))
    for which, extreme in EXTREMES.items():
        position = row_extremes(rows, missing, extreme)
        entries[which] = values[position]
        entries[f"t_{which}"] = t[position]
        entries[f"index_{which}"] = position + first
        if missing is not None:
            all_missing = ~np.isfinite(entries[which])
            entries[f"index_{which}"][all_missing] = -1
            entries[f"t_{which}"][all_missing] = np.nan
            entries[which][all_missing] = np.nan
    return entries


def entries_of_entries(entries: np.ndarray, size: int) -> np.ndarray:
    """Combine each `size` consecutive entries to one, shape (m * size,) to shape (m,).

    They are given back themselves if `size` is 1.
    """
    if size == 1:
        return entries
    combined = np.empty(len(entries) // size, dtype=entries.dtype)
    for which, extreme in EXTREMES.items():
        rows = entries[which].reshape(-1, size)
        chosen = entries[row_extremes(rows, missing_of(rows), extreme)]
        for column in (which, f"t_{which}", f"index_{which}"):
            combined[column] = chosen[column]
    return combined


def ended_gaps(
    values: np.ndarray, first: int, open_start: int | None
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Find the runs of missing samples that end within the next part of a series.

    Parameters
    ----------
    values : ndarray, shape (n,)
    first : int
        Index of the first of these values in the series.
    open_start : int or None
        Index where the run began that the part before ends with.

    Returns
    -------
    starts, lengths : ndarray of int, shape (m,)
    open_start : int or None
        Where the run began that this part ends with.
    """
    if values.dtype.kind != "f":
        return np.empty(0, dtype="<i8"), np.empty(0, dtype="<i8"), None
    missing = ~np.isfinite(values)
    before = np.concatenate([[open_start is not None], missing[:-1]])
    edges = np.flatnonzero(missing != before) + first
    if open_start is not None:
        edges = np.concatenate([[open_start], edges])
    unended = int(edges[-1]) if len(edges) % 2 else None
    starts, stops = edges[: len(edges) // 2 * 2].reshape(-1, 2).T
    return starts, stops - starts, unended


def gap_maxima(gaps: np.ndarray) -> np.ndarray:
    """Length of the longest gap of each complete block, shape (n,) to (n // GAP_BLOCK,)."""
    complete = len(gaps) // GAP_BLOCK * GAP_BLOCK
    return gaps["length"][:complete].reshape(-1, GAP_BLOCK).max(axis=1)


@dataclass(frozen=True)
class Pyramid:
    """A series of n samples and what was computed from it, as arrays or memory maps.

    Attributes
    ----------
    t, values : ndarray, shape (n,)
        UNIX seconds, ascending; numbers.
    levels : mapping of int to ndarray of `entry_dtype`
        By level, for each of `levels_of(n)`; complete entries only, n // 2^level of them.
    gaps : ndarray of `GAP_DTYPE`, shape (g,)
        All gaps, in order; the one that the series ends with may be left out.
    maxima : ndarray of int, shape (g // GAP_BLOCK,)
        Their `gap_maxima`.
    """

    t: np.ndarray
    values: np.ndarray
    levels: Mapping[int, np.ndarray]
    gaps: np.ndarray
    maxima: np.ndarray

    def overview(self, start: int, stop: int, max_points: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose samples that keep the picture of a part of the series.

        They are the part's first and last sample, the smallest and the largest one of each of
        `buckets`, and the first one of each gap between, if there are too many gaps the longest.

        Parameters
        ----------
        start, stop : int
            Indices of the part, half-open.
        max_points : int
            At least 8.

        Returns
        -------
        t, values : ndarray, shape (m,)
            In order, each sample once, m at most `max_points`; all samples if there are no more.

        Raises
        ------
        ValueError
            If `max_points` is too small.
        """
        if max_points < FEWEST_POINTS:
            raise ValueError(f"an overview has at least {FEWEST_POINTS} samples, not {max_points}")
        if stop - start <= max_points:
            return self.t[start:stop], self.values[start:stop]
        ends = np.array([start, stop - 1])
        gaps = self._longest_gaps(start, stop, max_points // GAP_SHARE)
        missing = np.full(len(gaps), np.nan).astype(self.values.dtype)
        index, t = [ends, gaps["start"]], [self.t[ends], gaps["t"]]
        values = [self.values[ends], missing]
        for entries in self._bucket_entries(*self.buckets(start, stop, max_points)):
            for name in EXTREMES:
                index.append(entries[f"index_{name}"])
                t.append(entries[f"t_{name}"])
                values.append(entries[name])
        unique, which = np.unique(np.concatenate(index), return_index=True)
        which = which[unique >= 0]
        return np.concatenate(t)[which], np.concatenate(values)[which]

    def buckets(self, start: int, stop: int, max_points: int) -> tuple[np.ndarray, int]:
        """Choose the buckets of an overview of more than `max_points` samples.

        They are of the smallest size 2^b, at multiples of it in the series, of which there are
        not too many. At least 3/16 of `max_points` minus one come out, as with half the size
        there would be too many.

        Returns
        -------
        bounds : ndarray of int, shape (number of buckets + 1,)
            Where each begins, and `stop`; the first and the last bucket may be incomplete.
        bits : int
            The exponent b.
        """
        first_gap, end_gap = self._inner_gaps(start, stop)
        gap_room = min(end_gap - first_gap, max_points // GAP_SHARE)
        most = (max_points - 2 - gap_room) // 2
        bits = 0
        while ((stop - 1) >> bits) - (start >> bits) >= most:
            bits += 1
        inner = np.arange((start >> bits) + 1, ((stop - 1) >> bits) + 1) << bits
        return np.concatenate([[start], inner, [stop]]), bits

    def _bucket_entries(self, bounds: np.ndarray, bits: int) -> list[np.ndarray]:
        """Entries of the buckets, exact for the incomplete ones at the edges too, in order."""
        start, low, high, stop = (int(bounds[i]) for i in (0, 1, -2, -1))
        level = max(k for k in (0, *levels_of(len(self.t))) if k <= bits)
        first = _combine_all(self._cover(start, low, level))
        last = _combine_all(self._cover(high, stop, level))
        if bits < FIRST_LEVEL:
            t, values = self.t[low:high], self.values[low:high]
            inner = entries_of_samples(t, values, low, 1 << bits)
        elif low < high:
            stored = self.levels[level][low >> level : high >> level]
            inner = entries_of_entries(stored, 1 << (bits - level))
        else:
            return [first, last]
        return [first, inner, last]

    def _cover(self, start: int, stop: int, level: int) -> list[np.ndarray]:
        """Entries that together cover a part exactly: of the level, and finer towards its ends."""
        if start == stop:
            return []
        if level < FIRST_LEVEL:
            t, values = self.t[start:stop], self.values[start:stop]
            return [entries_of_samples(t, values, start, stop - start)]
        low, high = -((-start) >> level), stop >> level
        if low >= high:
            return self._cover(start, stop, level - LEVEL_STEP)
        before = self._cover(start, low << level, level - LEVEL_STEP)
        after = self._cover(high << level, stop, level - LEVEL_STEP)
        return [*before, self.levels[level][low:high], *after]

    def _inner_gaps(self, start: int, stop: int) -> tuple[int, int]:
        """Range of the gaps with present samples on both sides in the part.

        Others contain its first or its last sample, which shows them.
        """
        low = _search(self.gaps["start"], start + 1)
        high = _search(self.gaps["start"], stop)
        if high > low and self.gaps["start"][high - 1] + self.gaps["length"][high - 1] >= stop:
            high -= 1
        return low, high

    def _longest_gaps(self, start: int, stop: int, most: int) -> np.ndarray:
        """The longest inner gaps of a part, shape (at most `most`,), in any order.

        They are in those `most` blocks that have the largest maxima, or in the incomplete blocks
        at the edges; and none is shorter than the least of those maxima.
        """
        low, high = self._inner_gaps(start, stop)
        if high - low <= most:
            return self.gaps[low:high]
        first, last = -((-low) // GAP_BLOCK), high // GAP_BLOCK
        if last - first <= most:
            which = np.arange(low, high)
        else:
            blocks = largest(self.maxima[first:last], most) + first
            inner = blocks[:, np.newaxis] * GAP_BLOCK + np.arange(GAP_BLOCK)
            before, after = np.arange(low, first * GAP_BLOCK), np.arange(last * GAP_BLOCK, high)
            which = np.concatenate([before, inner.ravel(), after])
            which = which[self.gaps["length"][which] >= self.maxima[blocks].min()]
        return self.gaps[which[largest(self.gaps["length"][which], most)]]


def _combine_all(parts: list[np.ndarray]) -> np.ndarray:
    """Combine all entries of some arrays to one entry."""
    # Records are slow to put together, and mostly there is one alone.
    entries = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return entries_of_entries(entries, len(entries))


def _search(ascending: np.ndarray, number: int) -> int:
    """Index of the first that is at least `number`; np.searchsorted would copy a column."""
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low
