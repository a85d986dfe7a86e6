"""Keep what buckets hold, in tiles of 64 of them, and put views together.

A view of one field is a range of whole buckets of one size `w`: bucket number i is
``[i w, (i + 1) w)``, as everywhere (`sisock/wire/grid.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sisock.bridge.metrics import size_of
from sisock.wire import arrays, grid, json_rows
from sisock.wire.fields import Field

TILE = 64
"""Buckets of a tile."""

BLOCK = 8 * TILE
"""Buckets of a block at most; a view seldom has more."""

MIN_CACHE = 4096
"""Bytes; with less memory than for a few tiles, the cache is off."""

DERIVED_FROM = 3
"""Levels: a tile is derived from complete ones whose buckets are 2 to 8 times as small."""

MAX_POINTS = 32_768
"""Samples of a view, however many are asked for: no screen is wider."""

_OVERHEAD, _ROW_BYTES = 700, 36
"""Memory of a tile besides its arrays, about, and of the JSON of each sample."""


class Samples:
    """Times and values, of shape (n,) each, and their JSON once somebody wants it."""

    __slots__ = ("_starts", "_text", "t", "values")

    def __init__(self, t: np.ndarray, values: np.ndarray) -> None:
        self.t, self.values = t, values
        self._text: bytes | None = None
        self._starts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.t)

    def rows(self, low: int, high: int) -> bytes:
        """Write ``[value,ms],[value,ms]`` of some samples."""
        if self._text is None:
            self._text, self._starts = json_rows.text_of_pairs(self.values, self.t)
        if high - low == len(self.t):
            return self._text
        assert self._starts is not None
        return self._text[self._starts[low] : self._starts[high] - 1]

    def part(self, low: int, high: int) -> Samples:
        """Copy some samples, and their JSON, so that they do not hold on to the others."""
        part = Samples(self.t[low:high].copy(), self.values[low:high].copy())
        if high > low:
            part._text = self.rows(low, high)
            part._starts = self._starts[low : high + 1] - self._starts[low]  # type: ignore[index]
        return part

    def cut(self, low: int, high: int) -> Samples:
        """Return some samples, without a copy."""
        return Samples(self.t[low:high], self.values[low:high])

    def between(self, start: float, end: float) -> Samples:
        """Return the samples of a half-open interval."""
        return self.cut(*np.searchsorted(self.t, [start, end]))

    def decimated(self, w: float) -> Samples:
        """Return what buckets of size `w` keep."""
        kept = grid.decimate(self.t, self.values, w)
        return Samples(self.t[kept], self.values[kept])


def join(parts: Iterable[Samples]) -> Samples:
    """Join samples that follow each other, whatever the types of their values."""
    filled = [part for part in parts if len(part)] or [Samples(np.empty(0), np.empty(0))]
    if len(filled) == 1:
        return filled[0]  # with its JSON
    return Samples(*arrays.join([(part.t, part.values) for part in filled]))


class View:
    """The samples that are shown of a field: runs of samples, which follow each other."""

    def __init__(self, field: Field, runs: Sequence[tuple[Samples, int, int]]) -> None:
        self.field = field
        self._runs = list(runs)
        self._count = sum([high - low for _, low, high in runs])

    @classmethod
    def whole(cls, field: Field, samples: Samples) -> View:
        """Make a view of all samples."""
        return cls(field, [(samples, 0, len(samples))] if len(samples) else [])

    def __len__(self) -> int:
        return self._count

    @property
    def samples(self) -> Samples:
        """All samples."""
        return join(each.cut(low, high) for each, low, high in self._runs)

    def rows(self) -> Iterator[bytes]:
        """Write ``[value,ms],[value,ms]``, in parts that follow each other."""
        for index, (samples, low, high) in enumerate(self._runs):
            if index:
                yield b","
            if len(samples) <= MAX_POINTS:
                yield samples.rows(low, high)
            else:
                yield from json_rows.pairs(samples.values[low:high], samples.t[low:high])

    def drop_outer(self, w: float, end: float) -> bool:
        """Drop a last sample from `end` on, if it is alone in its bucket.

        A first one may stand for an equal one within the interval. Returns whether there are
        buckets with several samples: then the data are not as regular as was said.
        """
        t = self.samples.t
        buckets = grid.bucket_of(t, w)
        if len(t) and t[-1] >= end and (buckets[-1:] != buckets[-2:-1]).all():
            samples, low, high = self._runs.pop()
            self._count -= 1
            if low < high - 1:
                self._runs.append((samples, low, high - 1))
        return bool((buckets[1:] == buckets[:-1]).any())

    def limit(self, points: int, w: float) -> None:
        """Double the buckets until they keep at most so many samples."""
        while len(self) > points:
            w *= 2
            kept = self.samples.decimated(w)
            self._runs, self._count = [(kept, 0, len(kept))], len(kept)


class Parts:
    """What is there of buckets `first` to `last`, half-open, and the ranges that are missing."""

    def __init__(self, first: int, last: int, w: float) -> None:
        self.missing: list[tuple[int, int]] = []
        self.is_known = False
        self.runs: list[tuple[Samples, int, int]] = []
        self._first, self._last, self._w = first, last, w

    def add(self, samples: Samples, low: int, high: int) -> None:
        """Add some of the samples of a part of the buckets, in any order."""
        self.is_known = True
        if self.runs and self.runs[-1][0] is samples and self.runs[-1][2] == low:
            low = self.runs.pop()[1]
        if low < high:
            self.runs.append((samples, low, high))

    def lack(self, first: int, last: int) -> None:
        """Note a range as missing; together with the one before if it follows that."""
        if self.missing and self.missing[-1][1] == first:
            first = self.missing.pop()[0]
        self.missing.append((first, last))

    def view(self, field: Field) -> View:
        """Return the samples of the buckets, once all is there."""
        runs: list[tuple[Samples, int, int]] = []
        start, end = self._first * self._w, self._last * self._w
        if len(self.runs) > 1:
            self.runs.sort(key=lambda run: run[0].t[run[1]])
        for samples, low, high in self.runs:
            low, high = (bisect_left(samples.t, edge, low, high) for edge in (start, end))
            if low < high:
                runs.append((samples, low, high))
        return View(field, runs)


class Block:
    """Samples of tiles that came together, of which some are still kept, and their memory."""

    __slots__ = ("kept", "keys", "nbytes", "samples")

    def __init__(self, samples: Samples, count: int) -> None:
        self.samples, self.kept = samples, count
        self.keys: list[tuple[Hashable, float, int]] = []
        json_bytes = _ROW_BYTES * len(samples)
        self.nbytes = size_of(samples.t, samples.values) + json_bytes + _OVERHEAD * count


class Tile(NamedTuple):
    """The samples of a tile within their block, all up to bucket `final`, exclusive."""

    block: Block
    low: int
    high: int
    final: int

    def samples(self) -> Samples:
        """Return the samples alone."""
        return self.block.samples.cut(self.low, self.high)


class TileCache:
    """Keep the most recently used blocks of tiles, up to a limit of bytes.

    A series is named by node, generation and field.
    """

    def __init__(self, limit: int) -> None:
        self.nbytes = 0
        self.spacing: dict[tuple[str, str, str], float | None] = {}
        """The interval of each series as first seen, so that it has the same tiles from then on."""
        self._limit = limit
        # Of each series, by size of buckets, the tiles by their numbers.
        self._tiles: dict[tuple[Hashable, float], dict[int, Tile]] = {}
        self._blocks: OrderedDict[Block, None] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self._limit >= MIN_CACHE

    def find(self, series: Hashable, first: int, last: int, w: float, now: float) -> Parts:
        """Find what tiles have of some buckets; nothing is missing behind the bucket of `now`."""
        parts, limit = Parts(first, last, w), math.floor(now / w) + 1
        if not self.is_on:
            if first < limit:
                parts.lack(first, min(last, limit))
            return parts
        tiles, block = self._tiles.get((series, w), {}), None
        for index in range(first // TILE, -(-last // TILE)):
            start, end, tile = index * TILE, (index + 1) * TILE, tiles.get(index)
            if tile is None or tile.final < end:
                tile = self._derive(series, w, index) or tile
            if tile is not None:
                parts.add(tile.block.samples, tile.low, tile.high)
                if tile.block is not block and tile.block in self._blocks:
                    block = tile.block
                    self._blocks.move_to_end(block)
            reached = start if tile is None else tile.final
            if reached < end and reached < min(last, limit):
                parts.lack(reached, min(end, limit))
        return parts

    def store(
        self, series: Hashable, w: float, first: int, last: int, samples: Samples, final_to: float
    ) -> None:
        """Keep the buckets from `first` to `last` of a reply that are final."""
        final = last if final_to >= last * w else math.floor(final_to / w)
        if final <= first or not self.is_on:
            return
        if first % TILE:
            # The first ones may go on where a tile ends.
            begin, index, first = first, first // TILE, min(-(-first // TILE) * TILE, final)
            tile = self._tiles.get((series, w), {}).get(index)
            if tile is not None and tile.final < first and begin <= tile.final:
                more = samples.between(tile.final * w, first * w)
                self._put(series, w, [index * TILE, first], join([tile.samples(), more]))
        for start in range(first, final, BLOCK):
            end = min(start + BLOCK, final)
            self._put(series, w, [*range(start, end, TILE), end], samples)

    def drop(self, node: str) -> None:
        """Forget all tiles of a node."""
        for (series, w), tiles in list(self._tiles.items()):
            if series[0] == node:  # type: ignore[index]
                for index in list(tiles):
                    self._forget(series, w, index)
        self.spacing = {series: each for series, each in self.spacing.items() if series[0] != node}

    def _derive(self, series: Hashable, w: float, index: int) -> Tile | None:
        """Make a tile of complete ones with smaller buckets, if these are there."""
        for level in range(1, DERIVED_FROM + 1):
            count, finer = 1 << level, self._tiles.get((series, w / (1 << level)), {})
            numbers = range(index * count, (index + 1) * count)
            if all(each in finer and finer[each].final == (each + 1) * TILE for each in numbers):
                coarse = join(finer[each].samples() for each in numbers).decimated(w)
                return self._put(series, w, [index * TILE, (index + 1) * TILE], coarse)
        return None

    def _put(self, series: Hashable, w: float, starts: list[int], samples: Samples) -> Tile:
        """Keep tiles that begin at some buckets and end at the last one; returns the last tile."""
        low, *cuts = np.searchsorted(samples.t, np.array(starts, dtype="<f8") * w).tolist()
        block = Block(samples.part(low, cuts[-1]), len(cuts))
        self._blocks[block] = None
        self.nbytes += block.nbytes
        begin = 0
        for start, final, cut in zip(starts, starts[1:], cuts, strict=False):
            key = series, w, start // TILE
            self._forget(*key)
            tile = Tile(block, begin, cut - low, final)
            self._tiles.setdefault((series, w), {})[start // TILE] = tile
            block.keys.append(key)
            begin = cut - low
        while self.nbytes > self._limit:
            oldest = next(iter(self._blocks))
            for series, w, index in oldest.keys:
                kept = self._tiles.get((series, w), {}).get(index)
                if kept is not None and kept.block is oldest:
                    self._forget(series, w, index)
        return tile

    def _forget(self, series: Hashable, w: float, index: int) -> None:
        tiles = self._tiles.get((series, w), {})
        tile = tiles.pop(index, None)
        if tile is not None:
            if not tiles:
                del self._tiles[series, w]
            tile.block.kept -= 1
            if not tile.block.kept:
                self.nbytes -= tile.block.nbytes
                del self._blocks[tile.block]
