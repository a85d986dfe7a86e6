"""Cache decimated samples in tiles of 64 buckets, parse their paths, and assemble views.

A view of one field is a range of whole buckets of one size `w`: bucket number i is
``[i w, (i + 1) w)``, as everywhere (`sisock/wire/grid.py`).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

import numpy as np

from sisock.errors import InvalidArgument
from sisock.wire import arrays, grid, json_rows
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT

TILE = 64  # buckets of a tile
MAX_POINTS = 32_768  # largest number of samples of a view: no screen is wider

_OVERHEAD, _ROW_BYTES = 900, 36
"""Approximate memory of a tile besides its arrays, and of the JSON of a sample."""

_EXPONENT, _INDEX = re.compile("0|-?[1-9][0-9]?"), re.compile("0|[1-9][0-9]{0,14}")
_MAX_INDEX = 2**53 // TILE - 1  # the numbers of all buckets are exact in float64
_TILE_FORM = "/tiles/<node>/<generation>/<field>/<k>/<index>"


class Samples:
    """Hold times and values, of shape (n,) each, whether they can change, and their JSON."""

    __slots__ = ("_starts", "_text", "is_final", "t", "values")

    def __init__(self, t: np.ndarray, values: np.ndarray, is_final: bool = False) -> None:
        self.t, self.values, self.is_final = t, values, is_final
        self._text: bytes | None = None
        self._starts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.t)

    def rows(self, low: int, high: int) -> bytes:
        """Return some samples as JSON, ``[value,ms], [value,ms]``."""
        if self._text is None:
            tails = json_rows.row_tails(self.t)
            self._text, self._starts = json_rows.text_of_pairs(self.values, tails)
        if high - low == len(self.t):
            return self._text
        assert self._starts is not None
        return self._text[self._starts[low] : self._starts[high] - len(json_rows.BETWEEN)]

    def part(self, low: int, high: int) -> Samples:
        """Copy some samples and their JSON, so that the memory of the others can be freed."""
        part = Samples(self.t[low:high].copy(), self.values[low:high].copy())
        if high > low:
            part._text = self.rows(low, high)
            part._starts = self._starts[low : high + 1] - self._starts[low]  # type: ignore[index]
        return part

    def cut(self, low: int, high: int) -> Samples:
        """Return some samples without copying them."""
        return Samples(self.t[low:high], self.values[low:high])

    def run(self, start: float, end: float) -> Run:
        """Return the run of samples in a half-open interval."""
        return self, bisect_left(self.t, start), bisect_left(self.t, end)

    def between(self, start: float, end: float) -> Samples:
        """Return the samples of a half-open interval."""
        return self.cut(*self.run(start, end)[1:])

    def decimated(self, w: float) -> Samples:
        """Return the samples decimated to buckets of size `w`."""
        kept = grid.decimate(self.t, self.values, w)
        return Samples(self.t[kept], self.values[kept])


Run: TypeAlias = tuple[Samples, int, int]
"""Samples, and the indices at which a run of them begins and ends."""


def join(parts: Iterable[Samples]) -> Samples:
    """Join samples that follow each other; their values may be of different types."""
    filled = [part for part in parts if len(part)] or [Samples(np.empty(0), np.empty(0))]
    if len(filled) == 1:
        return filled[0]  # keeps its JSON
    return Samples(*arrays.join([(part.t, part.values) for part in filled]))


class View:
    """Hold the samples to show of a field, as runs that follow each other.

    `is_final` tells whether they will not change in this generation of the node.
    """

    def __init__(self, field: Field, runs: Iterable[Run]) -> None:
        self.field, self.is_final = field, True
        self._runs = [run for run in runs if run[1] < run[2]]

    @classmethod
    def whole(cls, field: Field, samples: Samples) -> View:
        """Make a view of all samples."""
        return cls(field, [(samples, 0, len(samples))])

    def add(self, samples: Samples, start: float, end: float) -> None:
        """Add those samples that are in a half-open interval, before or after others."""
        self.is_final &= samples.is_final
        run = samples.run(start, end)
        if run[1] < run[2]:
            insort(self._runs, run, key=lambda run: run[0].t[run[1]])

    def __len__(self) -> int:
        return sum([high - low for _, low, high in self._runs])

    @property
    def samples(self) -> Samples:
        """All samples."""
        return join(run.cut(low, high) for run, low, high in self._runs)

    def rows(self) -> Iterator[bytes]:
        """Yield the samples as JSON, ``[value,ms], [value,ms]``, in parts."""
        for index, (samples, low, high) in enumerate(self._runs):
            if index:
                yield json_rows.BETWEEN
            if len(samples.t) <= MAX_POINTS:
                yield samples.rows(low, high)
            else:
                yield from json_rows.pairs(samples.values[low:high], samples.t[low:high])

    def drop_after(self, end: float, w: float) -> bool:
        """Drop a last sample at or after `end`, if it is alone in its bucket.

        A sample before the start stays: it may represent an equal one within the view. Returns
        whether a bucket has several samples, that is, whether the data are irregular.
        """
        t = self.samples.t
        buckets = grid.bucket_of(t, w)
        if len(t) and t[-1] >= end and (buckets[-1:] != buckets[-2:-1]).all():
            samples, low, high = self._runs.pop()
            if low < high - 1:
                self._runs.append((samples, low, high - 1))
        return bool((buckets[1:] == buckets[:-1]).any())

    def limit(self, points: int, w: float) -> None:
        """Decimate with ever larger buckets, beginning at 2 `w`, to at most `points` samples."""
        while len(self) > points:
            w *= 2
            kept = self.samples.decimated(w)
            self._runs = [(kept, 0, len(kept))]


class TileAddress(NamedTuple):
    """Name a tile: buckets of `w` seconds, from number `first` on."""

    node: str
    generation: str
    field: str
    w: float
    first: int


def parse_tile(path: bytes) -> TileAddress:
    """Parse the path of a tile as it was sent; raises InvalidArgument."""
    parts = path.split(b"/")[2:]
    if len(parts) != 5:
        raise InvalidArgument(f"the path of a tile is {_TILE_FORM}, with %2F for / in names")
    try:
        node, generation, field, exponent, index = (unquote_to_bytes(p).decode() for p in parts)
    except UnicodeDecodeError:
        raise InvalidArgument("names in the path of a tile must be percent-encoded UTF-8") from None
    for name in (node, generation, field):
        # Proxies and browsers would resolve a part of one or two dots as a step in the path.
        if name in ("", ".", "..") or "\0" in name:
            raise InvalidArgument(f"the path of a tile is {_TILE_FORM}: {name!r} is not a name")
    if not (_EXPONENT.fullmatch(exponent) and MIN_EXPONENT <= int(exponent) <= MAX_EXPONENT):
        raise InvalidArgument(f"k must be a whole number from {MIN_EXPONENT} to {MAX_EXPONENT}")
    if not (_INDEX.fullmatch(index) and int(index) <= _MAX_INDEX):
        raise InvalidArgument(f"index must be a whole number from 0 to {_MAX_INDEX}")
    return TileAddress(node, generation, field, math.ldexp(1.0, int(exponent)), int(index) * TILE)


def tile_generation(node: KnownNode) -> str | None:
    """Return the generation of a node's tiles; None if it cannot decimate, or announces none."""
    return node.entry.get("generation") if "bucket" in node.features else None


class Tile(NamedTuple):
    """Hold the samples of a tile, which is complete up to bucket `final`, exclusive."""

    samples: Samples
    final: int

    @property
    def nbytes(self) -> int:
        """Approximate memory of the tile."""
        samples = self.samples
        return arrays.memory_size(samples.t, samples.values) + _ROW_BYTES * len(samples) + _OVERHEAD


class TileCache:
    """Keep the most recently used tiles, within a limit of bytes: none if it is less than a tile's.

    The key of a series is its node, generation and field.
    """

    def __init__(self, limit: int) -> None:
        self.nbytes = 0
        self._limit, self._is_off = limit, limit < _OVERHEAD
        # By series and bucket size, the most recently used last: tiles by number.
        self._tiles: OrderedDict[tuple[Hashable, float], dict[int, Tile]] = OrderedDict()

    def find(
        self, series: Hashable, first: int, last: int, w: float, now: float
    ) -> tuple[list[Run], list[tuple[int, int]]]:
        """Return a run of each tile of a half-open range of buckets, and which of them are missing.

        No bucket is missing after the one of time `now`.
        """
        runs: list[Run] = []
        missing: list[tuple[int, int]] = []
        limit = math.floor(now / w) + 1
        if self._is_off:  # the rest of a tile would be fetched in vain
            return runs, [(first, min(last, limit))] if first < limit else []
        tiles = self._tiles.get((series, w), {})
        if tiles:
            self._tiles.move_to_end((series, w))
        for index in range(first // TILE, -(-last // TILE)):
            reached, end = index * TILE, (index + 1) * TILE
            if (tile := tiles.get(index)) is not None:
                samples, is_within = tile.samples, first <= reached and end <= last
                whole = samples, 0, len(samples)
                runs.append(whole if is_within else samples.run(first * w, last * w))
                reached = tile.final
            if reached < end and reached < min(last, limit):
                is_next = missing and missing[-1][1] == reached
                missing.append((missing.pop()[0] if is_next else reached, min(end, limit)))
        return runs, missing

    def store(
        self, series: Hashable, w: float, first: int, last: int, samples: Samples, final_to: float
    ) -> None:
        """Store those buckets of a reply from `first` to `last` that are final."""
        if self._is_off:
            return
        final = last if final_to >= last * w else math.floor(final_to / w)
        numbers = range(first // TILE, -(-final // TILE))
        edges = [min(index * TILE, final) * w for index in range(numbers.start, numbers.stop + 1)]
        cuts = np.searchsorted(samples.t, edges).tolist()
        for index, low, high in zip(numbers, cuts, cuts[1:], strict=False):
            begin, end = index * TILE, min((index + 1) * TILE, final)
            if first > begin:  # the first buckets may extend an incomplete tile
                tile = self._tiles.get((series, w), {}).get(index)
                if tile is None or not first <= tile.final < end:
                    continue
                more = join([tile.samples, samples.between(tile.final * w, end * w)])
                part = more.part(0, len(more))
            else:
                part = samples.part(low, high)
            self._put((series, w), index, Tile(part, end))

    def _put(self, key: tuple[Hashable, float], index: int, tile: Tile) -> None:
        """Store a tile instead of any earlier one, and drop the oldest of the oldest series."""
        tiles = self._tiles.setdefault(key, {})
        if index in tiles:
            self.nbytes -= tiles.pop(index).nbytes
        tiles[index] = tile
        self.nbytes += tile.nbytes
        while self.nbytes > self._limit:
            key, tiles = next(iter(self._tiles.items()))
            self.nbytes -= tiles.pop(next(iter(tiles))).nbytes
            if not tiles:
                del self._tiles[key]
