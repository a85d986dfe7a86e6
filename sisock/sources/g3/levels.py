"""Cache decimated samples of `.g3` files, and decimate exactly from the cache and the files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from sisock.sources.g3.frames import (
    blocks_of,
    in_order,
    read_frames,
    short_name,
    times_of,
    values_of,
)
from sisock.sources.g3.index import Block, Index
from sisock.store.background import Steps, until_stored
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid, View
from sisock.store.series import Damaged
from sisock.wire import grid
from sisock.wire.arrays import Samples
from sisock.wire.grid import Wanted, bucket_size_for, bucket_start
from sisock.wire.reply import Decimated, just_after

SIZE = 16.0
"""Seconds of the cached buckets; for smaller ones, samples are read from the files."""

BEHIND = 86400.0
"""Maximum seconds that the cache may lag behind the samples; each request reads the rest."""

AT_ONCE, SPAN = 500_000, 86400.0
"""Values of a block that are decimated in one step; seconds of frames to look up at once."""


def read_blocks(
    index: Index, blocks: Iterable[Block], start: float, end: float
) -> Iterator[dict[str, Any]]:
    """Yield the contents of each readable frame that has samples of blocks in an interval."""
    for path, offset in index.frames(blocks, start, end):
        try:
            _, _, frame = next(read_frames(path, offset))
            found = blocks_of(frame)
        except (OSError, ValueError, LookupError, AttributeError, StopIteration) as error:
            index.broken[path] = str(error)
            continue
        yield found


def read_field(index: Index, blocks: list[Block], field: str, start: float, end: float) -> Samples:
    """Return the samples of a field in an interval, from these blocks."""
    parts = []
    for block in blocks:
        for frame in read_blocks(index, [block], start, end):
            if block.name in frame and field in frame[block.name]:
                t = times_of(frame[block.name])
                is_inside = (t >= start) & (t < end)
                values = values_of(frame[block.name][field], blocks[-1].fields[field])
                parts.append((t[is_inside], values[is_inside]))
    return in_order(parts)


class _Fields:
    """Collect the numbers and booleans of a block until they are decimated."""

    def __init__(self, block: Block, pyramids: Mapping[str, Pyramid]) -> None:
        self.block, self.pyramids = block, pyramids
        self._held: dict[str, list[Samples]] = {name: [] for name in pyramids}
        self._size = 0

    def take(self, found: Any) -> int:
        """Add the samples of a frame; return how many values are held."""
        t = times_of(found)
        for name in self._held.keys() & set(found.keys()):
            self._held[name].append((t, values_of(found[name], self.block.fields[name])))
        self._size += len(t) * len(self._held)
        return self._size

    def keep(self, generation: int) -> None:
        """Decimate and store whole buckets; hold the samples after these."""
        ordered = {name: in_order(parts) for name, parts in self._held.items()}
        newest = max((float(t[-1]) for t, _ in ordered.values() if len(t)), default=-math.inf)
        edge = bucket_start(newest, SIZE) if newest > -math.inf else newest
        for name, (t, values) in ordered.items():
            begin = _until(self.pyramids[name])
            first, stop = t.searchsorted([begin, edge])
            if edge > begin:
                which = first + grid.decimate(t[first:stop], values[first:stop], SIZE)
                about = {"until": edge, "index": generation}
                self.pyramids[name].base.append(t[which], values[which], **about)
            self._held[name] = [(t[stop:].copy(), values[stop:].copy())]
        self._size = 0


class Levels:
    """Cache the decimated numbers and booleans of all blocks of an index."""

    def __init__(self, name: str, index: Index, warn: Callable[[str], None]) -> None:
        self._index, self._store = index, Store(name, warn)

    def close(self) -> None:
        """Close the cache."""
        self._store.close()

    def forget(self, blocks: Iterable[Block]) -> None:
        """Drop the cache of blocks with changed samples."""
        for block in blocks:
            for field in block.fields:
                self._store.make(_key(block, field))

    def extend(self, tell: Callable[[str], None]) -> None:
        """Decimate all whole buckets after the cached ones; `tell` is given the progress."""
        feeds: dict[str, list[Block]] = {}
        for block in list(self._index.blocks.values()):
            feeds.setdefault(block.feed, []).append(block)
        for blocks in feeds.values():
            for _ in until_stored(self._store, partial(self._extend, blocks, tell)):
                pass
            self._store.release()

    def _open(self, block: Block, field: str) -> Pyramid:
        """Return the pyramid of a field; an empty one if it was made with another index."""
        pyramid, generation = self._store.open(_key(block, field)), self._index.generation
        if pyramid.base.record.identity.get("index", generation) != generation:
            return self._store.make(_key(block, field))
        return pyramid

    def is_behind(self, blocks: Iterable[Block], field: str) -> bool:
        """Return whether the cache of a field lags behind its samples by more than `BEHIND`."""
        return any(
            block.fields[field] != "string"
            and block.last - _until(self._open(block, field)) > BEHIND
            for block in blocks
        )

    def _extend(self, blocks: list[Block], tell: Callable[[str], None]) -> Steps:
        """Extend the cache of a feed's blocks together, as each frame has all of them."""
        behind: dict[str, _Fields] = {}
        start, end = math.inf, -math.inf
        for block in blocks:
            numbers = [name for name, kind in block.fields.items() if kind != "string"]
            fields = _Fields(block, {name: self._open(block, name) for name in numbers})
            begin = min(map(_until, fields.pyramids.values()), default=math.inf)
            if block.count and begin < bucket_start(block.last, SIZE):
                behind[block.name] = fields
                start, end = min(start, max(begin, block.first)), max(end, block.last)
        first = start
        while start <= end:
            here = [fields.block for fields in behind.values()]
            for frame in read_blocks(self._index, here, start, start + SPAN):
                for name in behind.keys() & frame.keys():
                    if behind[name].take(frame[name]) > AT_ONCE:
                        behind[name].keep(self._index.generation)
                        yield None
            start += SPAN
            if BEHIND < start - first < end - first:
                done = (start - first) / (end - first)
                tell(f"{done:.0%} of {short_name(blocks[0].feed)}")
        for fields in behind.values():
            fields.keep(self._index.generation)
            for pyramid in fields.pyramids.values():
                yield from pyramid.extend()

    def decimate(self, blocks: list[Block], field: str, wanted: Wanted) -> Decimated | None:
        """Decimate an interval; return None if its samples have to be read from the files."""
        if (wanted.bucket or SIZE) < SIZE:
            return None
        views = [self._open(block, field).view() for block in blocks]
        try:
            for block, view in zip(blocks, views, strict=True):
                if min(wanted.end, block.last) - view.identity.get("until", -math.inf) > BEHIND:
                    return None
            return self._join(blocks, views, field, wanted)
        except Damaged as damage:
            self._store.repair(damage.record.field, damage)
            return None

    def _join(
        self, blocks: list[Block], views: list[View], field: str, wanted: Wanted
    ) -> Decimated | None:
        """Decimate cached buckets, and what is before and after them in the files."""
        # Frames may be indexed while others are read: those may be missing here.
        final_to = just_after(self._index.last(blocks))
        start, end, bucket, max_points = wanted
        low, high = bucket_start(start, SIZE) + SIZE, bucket_start(end, SIZE)
        inner, outer, count = [], [], 0
        for block, view in zip(blocks, views, strict=True):
            # The oldest bucket may lack samples of removed files.
            begin = min(max(low, bucket_start(block.first, SIZE) + SIZE), end)
            stop = max(begin, min(high, view.identity.get("until", -math.inf)))
            raw, span = [(start, begin), (stop, end)], view.span(begin, stop)
            count += span[0] if span else 0
            if span and max_points is not None:
                # The first and the last sample must be kept: read their buckets from the files.
                first, last = bucket_start(span[1], SIZE), bucket_start(span[2], SIZE)
                raw += [(each, each + SIZE) for each in {first, last}]
                begin, stop = first + SIZE, max(first + SIZE, last)
            inner.append((view, begin, stop))
            outer += [(block, *each) for each in raw if each[0] < each[1]]
        if max_points is not None and count <= max_points:
            return None
        parts = [read_field(self._index, [block], field, *each) for block, *each in outer]
        t, _ = in_order(parts)
        if max_points is not None and len(t):
            bucket = bucket_size_for(float(t[0]), float(t[-1]), max_points)
        if bucket is None or bucket < SIZE:
            return None
        for view, begin, stop in inner:
            found = view.decimate(begin, stop, bucket, None)
            parts.append((found.t, found.values))
        t, values = in_order(parts)
        which = grid.decimate(t, values, bucket, max_points is not None)
        return Decimated(t[which], values[which], bucket, final_to)


def _key(block: Block, field: str) -> str:
    return f"{block.id} {field}"


def _until(pyramid: Pyramid) -> float:
    """Return the time before which all buckets are cached."""
    return float(pyramid.base.record.identity.get("until", -math.inf))
