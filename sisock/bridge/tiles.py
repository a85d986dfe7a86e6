"""Final samples in tiles: what a view has of them, and what it still has to ask for.

A tile holds all samples of its stretch of time, or few that keep the picture (``max_points``): of
each bucket, a run of samples, the smallest and the largest. Inside of it nobody knows where one
bucket ends and the next begins, so a view that ends there must not use the tile up to its own
edge: an extreme of the bucket that is cut may lie outside of it. `MARGIN` samples further in, that
bucket is over for sure; up to there the view asks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

MARGIN = 8
"""Samples of a picture of which not all belong to one bucket, which has two and seldom four."""

TILE_SAMPLES = 4096
"""Raw tiles that touch become one up to this size."""

ROW_SAMPLES = 200_000
"""Samples that a row keeps, those nearest to the last view."""

_OBJECT_BYTES = 64
"""What a Python object in an array takes besides the pointer to it, about."""

Span: TypeAlias = tuple[float, float]
"""Start and end, UNIX seconds, half-open."""


def concatenate(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Join arrays of values of one field, whatever their types."""
    # What is empty has no type of its own.
    filled = [array for array in arrays if len(array)]
    if len(filled) < 2:
        return filled[0] if filled else np.empty(0)
    if any(array.dtype == object for array in filled):
        filled = [array.astype(object) for array in filled]
    return np.concatenate(filled)


def memory_of(t: np.ndarray, values: np.ndarray) -> int:
    """Bytes that samples take."""
    per_object = _OBJECT_BYTES if values.dtype == object else 0
    return t.nbytes + values.nbytes + per_object * len(values) + 200


@dataclass(frozen=True)
class Tile:
    """Final samples of one field.

    Attributes
    ----------
    start, end : float
        UNIX seconds, half-open.
    t, values : ndarray, shape (n,)
        Samples in between.
    is_raw : bool
        These are all.
    is_cut : bool
        The last bucket goes on behind `end`.
    """

    start: float
    end: float
    t: np.ndarray
    values: np.ndarray
    is_raw: bool
    is_cut: bool = False

    @property
    def nbytes(self) -> int:
        """Memory that the samples take."""
        return memory_of(self.t, self.values)

    def clip(self, start: float, end: float) -> Tile:
        """The samples of `start` to `end`, which are within the tile."""
        low, high = np.searchsorted(self.t, [start, end])
        return Tile(start, end, self.t[low:high], self.values[low:high], self.is_raw)

    def part(self, start: float, end: float) -> Tile | None:
        """What a view of `start` to `end` can use: with the rest asked for, no extreme is lost."""
        low, high = max(self.start, start), min(self.end, end)
        if not self.is_raw:
            t = self._extremes()
            if self.start < start:
                low = self._after_margin(t, start)
            if end < self.end or self.is_cut:
                high = self._before_margin(t, high)
        return self.clip(low, high) if low < high else None

    def _extremes(self) -> np.ndarray:
        if self.values.dtype == object:
            return self.t
        # A missing sample stands for a gap, not for a bucket.
        return self.t[np.isfinite(self.values)]

    def _after_margin(self, t: np.ndarray, start: float) -> float:
        last = int(np.searchsorted(t, start)) + MARGIN - 1
        if last >= len(t):
            return self.end
        # Behind all samples of that time, which may still belong to the bucket before.
        following = int(np.searchsorted(t, t[last], side="right"))
        return float(t[following]) if following < len(t) else self.end

    def _before_margin(self, t: np.ndarray, end: float) -> float:
        first = int(np.searchsorted(t, end)) - MARGIN
        return float(t[first]) if first >= 0 else self.start


def take(
    tiles: Sequence[Tile], span: Span, least: Callable[[Span], float] = lambda span: 0.0
) -> tuple[list[Tile], list[Span]]:
    """Take the parts of tiles that a view can use.

    Parameters
    ----------
    tiles : sequence of Tile
        In the order of their starts.
    span : (float, float)
        What is wanted.
    least : callable, optional
        Seconds that a part must have to be worth another request for what lies beside it.

    Returns
    -------
    parts : list of Tile
        In time order; none begins before the one before has ended.
    holes : list of (float, float)
        What lies between.
    """
    reached, end = span
    parts: list[Tile] = []
    holes: list[Span] = []
    for tile in tiles:
        part = tile.part(reached, end) if tile.start < end and tile.end > reached else None
        if part is None or part.end - part.start < least(span):
            continue
        if part.start > reached:
            holes.append((reached, part.start))
        parts.append(part)
        reached = part.end
    if reached < end:
        holes.append((reached, end))
    return parts, holes


@dataclass
class TileRow:
    """Tiles of one field at one resolution, in the order of their starts."""

    tiles: list[Tile] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Memory of all tiles."""
        return sum(tile.nbytes for tile in self.tiles)

    def add(self, new: Tile, view: Span) -> None:
        """Add a tile; what is farthest from the view is dropped if the row becomes too long."""
        if any(tile.start <= new.start and new.end <= tile.end for tile in self.tiles):
            return
        others = [t for t in self.tiles if not (new.start <= t.start and t.end <= new.end)]
        self.tiles = sorted([*others, new], key=lambda tile: tile.start)
        self._merge()
        middle = (view[0] + view[1]) / 2
        while len(self.tiles) > 1 and sum(len(tile.t) for tile in self.tiles) > ROW_SAMPLES:
            far = max(self.tiles, key=lambda tile: abs(tile.start + tile.end - 2 * middle))
            self.tiles.remove(far)

    def _merge(self) -> None:
        """Make one of raw tiles that touch or overlap, while it stays small."""
        merged: list[Tile] = []
        for tile in self.tiles:
            last = merged[-1] if merged else None
            if last is None or not _can_merge(last, tile):
                merged.append(tile)
                continue
            rest = tile.clip(last.end, max(tile.end, last.end))
            t, values = np.concatenate([last.t, rest.t]), concatenate([last.values, rest.values])
            merged[-1] = Tile(last.start, rest.end, t, values, True)
        self.tiles = merged


def _can_merge(first: Tile, second: Tile) -> bool:
    touch = first.is_raw and second.is_raw and second.start <= first.end
    return touch and len(first.t) + len(second.t) <= TILE_SAMPLES
