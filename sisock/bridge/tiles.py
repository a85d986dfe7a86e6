"""Keep what buckets hold, in tiles of 64 of them, and put views together.

A view of one field is a range of whole buckets of one size `w`: bucket number i is
``[i w, (i + 1) w)``, as everywhere (`sisock/wire/grid.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from sisock.bridge.metrics import size_of
from sisock.wire import grid, json_rows
from sisock.wire.fields import Field
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT, Interval

TILE = 64
"""Buckets of a tile."""

MIN_CACHE = 4096
"""Bytes; with less memory than for a few tiles, the cache is off."""

DERIVED_FROM = 3
"""Levels: a tile is derived from complete ones whose buckets are 2 to 8 times as small."""

_OVERHEAD, _ROW_BYTES = 700, 32
"""Memory of a tile besides its arrays, about, and of the JSON of each sample."""

Samples: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Times and values, of shape (n,) each."""

NONE: Samples = np.empty(0), np.empty(0)


def join(parts: Iterable[Samples]) -> Samples:
    """Join samples that follow each other, whatever the types of their values."""
    # Empty arrays have no type of their own.
    filled = [part for part in parts if len(part[0])]
    if len(filled) < 2:
        return filled[0] if filled else NONE
    values = [each for _, each in filled]
    if any(each.dtype == object for each in values):
        values = [each.astype(object) for each in values]
    return np.concatenate([t for t, _ in filled]), np.concatenate(values)


def cut(samples: Samples, start: float, end: float) -> Samples:
    """Return the samples of a half-open interval."""
    low, high = np.searchsorted(samples[0], [start, end])
    return samples[0][low:high], samples[1][low:high]


def thin(samples: Samples, w: float) -> Samples:
    """Return what buckets of size `w` keep."""
    kept = grid.decimate(*samples, w)
    return samples[0][kept], samples[1][kept]


def fine_bucket_size(spacing: float) -> float:
    """Return the largest bucket size of which regular data have one sample in each bucket."""
    exponent = math.frexp(1.01 * spacing)[1] - 1
    return math.ldexp(1.0, min(max(exponent, MIN_EXPONENT), MAX_EXPONENT))


def bucket_size(interval: Interval, points: int) -> float:
    """Return the smallest bucket size of which a view has at most `points` samples."""
    least = math.frexp((interval.end - interval.start) * 2 / points)[1] - 1
    for exponent in range(max(least, MIN_EXPONENT), MAX_EXPONENT):
        w = math.ldexp(1.0, exponent)
        if 2 * (math.ceil(interval.end / w) - math.floor(interval.start / w)) <= points:
            return w
    return math.ldexp(1.0, MAX_EXPONENT)


class Tile:
    """Samples that follow each other; if they are kept, all up to bucket `final`, exclusive."""

    def __init__(self, samples: Samples, final: int = 0, nbytes: int = 0) -> None:
        self.samples = samples
        self.final = final
        self.nbytes = nbytes
        self._text = b""
        self._ends: list[int] = []

    def rows(self, low: int, high: int) -> Iterator[bytes]:
        """Write some of the samples as JSON, which a tile that is kept remembers."""
        t, values = self.samples
        if not self.nbytes or values.dtype == object:
            yield from json_rows.pairs(values[low:high], t[low:high])
            return
        if not self._text:
            self._text = b"".join(json_rows.pairs(values, t))
        if high - low == len(t):
            yield self._text
            return
        if not self._ends:
            self._ends = np.flatnonzero(np.frombuffer(self._text, "u1") == ord("]")).tolist()
        yield self._text[self._ends[low - 1] + 2 if low else 0 : self._ends[high - 1] + 1]


class View:
    """The samples of a field in buckets `first` to `last`, half-open.

    What is `missing` must be added to `parts`, by its first bucket, before anything is read.
    """

    field: Field

    def __init__(self, first: int, last: int, w: float) -> None:
        self.first, self.last, self.w = first, last, w
        self.parts: dict[int, Tile] = {}
        self.missing: list[tuple[int, int]] = []
        self._runs: list[tuple[Tile, int, int]] | None = None

    def __len__(self) -> int:
        return sum(high - low for _, low, high in self.runs())

    def add(self, first: int, samples: Samples) -> None:
        """Add the samples of a missing range."""
        self.parts[first] = Tile(samples)

    def runs(self) -> list[tuple[Tile, int, int]]:
        """Return each tile that has samples to show, and which these are."""
        if self._runs is None:
            self._runs = []
            start, end = self.first * self.w, self.last * self.w
            for first, tile in sorted(self.parts.items()):
                t = tile.samples[0]
                low = bisect_left(t, start) if first < self.first else 0
                high = bisect_left(t, end) if len(t) and t[-1] >= end else len(t)
                if low < high:
                    self._runs.append((tile, low, high))
        return self._runs

    def samples(self) -> Samples:
        """Join all samples."""
        runs = [(*tile.samples, slice(*shown)) for tile, *shown in self.runs()]
        return join((t[shown], values[shown]) for t, values, shown in runs)

    @property
    def t(self) -> np.ndarray:
        """Times, as of a `Series`."""
        return self.samples()[0]

    @property
    def values(self) -> np.ndarray:
        """Values, as of a `Series`."""
        return self.samples()[1]

    def rows(self) -> Iterator[bytes]:
        """Write ``[value,ms],[value,ms]``, in parts that follow each other."""
        for index, (tile, low, high) in enumerate(self.runs()):
            if index:
                yield b","
            yield from tile.rows(low, high)

    def drop_last(self) -> None:
        """Leave out the last sample."""
        tile, low, high = self.runs().pop()
        if low < high - 1:
            self.runs().append((tile, low, high - 1))

    def limit(self, points: int) -> None:
        """Double the buckets until they keep at most so many samples."""
        while len(self) > points:
            self.w *= 2
            samples = thin(self.samples(), self.w)
            self._runs = [(Tile(samples), 0, len(samples[0]))]


class TileCache:
    """Keep the most recently used tiles, up to a limit of bytes."""

    def __init__(self, limit: int) -> None:
        self.nbytes = 0
        self.spacing: dict[tuple[str, str, str], float | None] = {}
        """The interval of each series as first seen, so that it has the same tiles from then on."""
        self._limit = limit
        self._tiles: OrderedDict[Hashable, Tile] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self._limit >= MIN_CACHE

    def view(self, series: Hashable, first: int, last: int, w: float, now: float) -> View:
        """Find what tiles have of a view; nothing is missing behind the bucket of `now`.

        A series is named by node, generation and field.
        """
        view, limit = View(first, last, w), math.floor(now / w) + 1
        if not self.is_on:
            view.missing = [(first, min(last, limit))] if first < limit else []
            return view
        for index in range(first // TILE, -(-last // TILE)):
            start = reached = index * TILE
            tile = self._get(series, w, index)
            if tile is not None:
                view.parts[start], reached = tile, tile.final
            end = min(start + TILE, limit)
            if reached >= min(end, last):
                continue
            if view.missing and view.missing[-1][1] == reached:
                view.missing[-1] = view.missing[-1][0], end
            else:
                view.missing.append((reached, end))
        return view

    def store(
        self, series: Hashable, w: float, first: int, last: int, samples: Samples, final_to: float
    ) -> None:
        """Keep the buckets from `first` to `last` of a reply that are final."""
        final = last if final_to >= last * w else math.floor(final_to / w)
        if final <= first:
            return
        starts = [first, *range((first // TILE + 1) * TILE, final, TILE), final]
        t, values = samples
        cuts = np.searchsorted(t, np.array(starts, dtype="<f8") * w).tolist()
        for (start, end), (low, high) in zip(pairwise(starts), pairwise(cuts), strict=True):
            # A copy does not hold on to the whole reply.
            part = t[low:high].copy(), values[low:high].copy()
            key = series, w, start // TILE
            if start % TILE:
                tile = self._tiles.get(key)
                if tile is None or not start <= tile.final < end:
                    continue
                part = join([tile.samples, cut(part, tile.final * w, end * w)])
            self._put(key, part, end)

    def drop(self, node: str) -> None:
        """Forget all tiles of a node."""
        for key in [key for key in self._tiles if key[0][0] == node]:  # type: ignore[index]
            self.nbytes -= self._tiles.pop(key).nbytes
        self.spacing = {series: each for series, each in self.spacing.items() if series[0] != node}

    def _get(self, series: Hashable, w: float, index: int) -> Tile | None:
        key = series, w, index
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        if tile is None or tile.final < (index + 1) * TILE:
            tile = self._derive(series, w, index) or tile
        return tile

    def _derive(self, series: Hashable, w: float, index: int) -> Tile | None:
        """Make a tile of complete ones with smaller buckets, if these are there."""
        for level in range(1, DERIVED_FROM + 1):
            count, fine = 1 << level, w / (1 << level)
            found = []
            for each in range(index * count, (index + 1) * count):
                tile = self._tiles.get((series, fine, each))
                if tile is None or tile.final < (each + 1) * TILE:
                    break
                found.append(tile.samples)
            if len(found) == count:
                return self._put((series, w, index), thin(join(found), w), (index + 1) * TILE)
        return None

    def _put(self, key: Hashable, samples: Samples, final: int) -> Tile:
        nbytes = _OVERHEAD + size_of(*samples) + _ROW_BYTES * len(samples[0])
        tile = Tile(samples, final, nbytes)
        before = self._tiles.pop(key, None)
        self.nbytes += nbytes - (before.nbytes if before else 0)
        self._tiles[key] = tile
        while self.nbytes > self._limit:
            self.nbytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile
