"""Find samples for panels and tiles: read cached ones, and fetch the buckets that are missing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from twisted.internet import defer, task

from sisock.bridge.bridge import Bridge, views
from sisock.bridge.metrics import Share
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import MAX_POINTS, TILE, Samples, TileAddress, View, tile_generation
from sisock.connection.session import gather
from sisock.errors import UnknownField, UnknownGeneration
from sisock.wire.arrays import memory_size
from sisock.wire.fields import Field, KnownNode
from sisock.wire.grid import bucket_size_of_spacing, bucket_size_of_view
from sisock.wire.protocol import EARLIEST, MAX_BUCKETS, MAX_CELLS, NEVER_FINAL, Interval

MAX_UNDECIMATED = 50_000  # samples of a field to request from a node without buckets
COMBINE_WITHIN = 1e-3  # seconds that a call waits for more fields, if others are under way

Fields: TypeAlias = Mapping[str, Field]
Sizes: TypeAlias = Mapping[str, float]  # bucket sizes by field


@dataclass(frozen=True)
class Buckets:
    """Identify a half-open range of buckets of a node, in one generation."""

    node: KnownNode
    w: float
    first: int
    last: int


class Call:
    """Share one call for buckets among panels; fields can be added until it has begun.

    The call is cancelled when the last panel stops waiting for it.
    """

    def __init__(self, run: Callable[[Call], Coroutine[Any, Any, Any]]) -> None:
        self.fields: dict[str, Field] = {}
        self.has_begun = False
        self._waiters: list[defer.Deferred] = []
        self._job = defer.ensureDeferred(run(self))
        self._job.addBoth(self._end)

    @property
    def is_shared(self) -> bool:
        """Whether several panels wait for the call."""
        return len(self._waiters) > 1

    def wait(self) -> defer.Deferred:
        """Return a Deferred of the result of the call."""
        waiter: defer.Deferred = defer.Deferred(self._stop_waiting)
        self._waiters.append(waiter)
        return waiter

    def _end(self, result: Any) -> None:
        while self._waiters:
            self._waiters.pop(0).callback(result)

    def _stop_waiting(self, waiter: defer.Deferred) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._job.cancel()


class Panel(NamedTuple):
    """Hold what a panel requests, and its share of the memory."""

    share: Share
    interval: Interval
    points: int


class Views:
    """Find views of fields, and cache their final buckets."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        # Calls under way.
        self._calls: dict[Buckets, list[Call]] = {}
        # Whether panels came together the last time, as those of a dashboard do at each refresh.
        self._is_crowded = False

    async def find(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, points: int
    ) -> dict[Pair, View]:
        """Return views of fields with at most `points` samples each."""
        panel = Panel(share, interval, min(points, MAX_POINTS))

        async def fetch_fields(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
            find = self._from_tiles if "bucket" in node.features else self._without_buckets
            return await find(panel, node, fields)

        return await self._bridge.ask_nodes(share, pairs, fetch_fields)

    async def tile(self, share: Share, address: TileAddress) -> tuple[View, bool]:
        """Return the samples of a tile, and whether they will not change in this generation.

        Raises UnknownNode, UnknownGeneration, UnknownField, or as `Bridge.fetch`.
        """
        name, w, first = address.field, address.w, address.first
        node = await self._bridge.node(address.node)
        self._check_generation(node, address)
        fields = await self._bridge.sites[node.site].directory.fields(node, [name])
        if name not in fields:
            raise UnknownField(f"the data node {node.name!r} has no field {name!r}")
        panel = Panel(share, Interval(first * w, (first + TILE) * w), 2 * TILE)
        is_past = panel.interval.end <= self._bridge.now()
        view = (await self._complete(panel, node, fields, {name: w}))[name]
        self._check_generation(node, address)
        return view, is_past and view.is_final

    def _check_generation(self, node: KnownNode, address: TileAddress) -> None:
        if tile_generation(node) != address.generation or not self._bridge.is_current(node):
            raise UnknownGeneration(
                f"the data node {address.node!r} has no tiles of the generation"
                f" {address.generation!r}: GET /nodes names the present one"
            )

    async def _from_tiles(self, panel: Panel, node: KnownNode, fields: Fields) -> dict[str, View]:
        interval, points = panel.interval, panel.points
        coarse, seconds = bucket_size_of_view(interval, points), interval.end - interval.start
        # If all samples fit into the view, use buckets so small that regular data lose none.
        fine = {}
        for name, field in fields.items():
            if field.interval and seconds <= points * field.interval:
                fine[name] = bucket_size_of_spacing(field.interval)
        sizes = {name: fine.get(name, coarse) for name in fields}
        views = await self._complete(panel, node, fields, sizes)
        irregular = {}
        for name, w in fine.items():
            if views[name].drop_after(interval.end, w) and coarse < w:
                irregular[name] = coarse
        if irregular:
            views |= await self._complete(panel, node, fields, irregular)
        for name, view in views.items():
            view.limit(points, irregular.get(name, sizes[name]))
        return views

    async def _complete(
        self, panel: Panel, node: KnownNode, fields: Fields, sizes: Sizes
    ) -> dict[str, View]:
        """Return all buckets of the given sizes by field, and count cache hits and misses."""
        views: dict[str, View] = {}
        missing: dict[Buckets, dict[str, Field]] = {}
        share, interval, now = panel.share, panel.interval, self._bridge.now()
        for name, w in sizes.items():
            series = node.name, node.generation, name
            first, last = int(interval.start // w), int(-(-interval.end // w))
            runs, ranges = self._bridge.tiles.find(series, first, last, w, now)
            views[name] = View(fields[name], runs)
            share.hits += bool(runs)
            share.misses += not runs
            for begin, end in ranges:
                for start in range(begin, end, MAX_BUCKETS):
                    key = Buckets(node, w, start, min(start + MAX_BUCKETS, end))
                    missing.setdefault(key, {})[name] = fields[name]
        if missing:
            calls = [defer.ensureDeferred(self._join(*item)) for item in missing.items()]
            for key, fetched in zip(missing, await gather(calls), strict=True):
                edges = interval.start // key.w * key.w, -(-interval.end // key.w) * key.w
                for name in missing[key]:
                    share.add(memory_size(fetched[name].t, fetched[name].values))
                    views[name].add(fetched[name], *edges)
        return views

    async def _join(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Wait for calls that fetch the fields: join one under way, or start a new one."""
        calls = self._calls.setdefault(buckets, [])
        room = MAX_CELLS // (buckets.last - buckets.first)
        joined: dict[Call, None] = {}
        for name, field in fields.items():
            for call in calls:
                if name in call.fields or not (call.has_begun or len(call.fields) >= room):
                    break
            else:
                call = Call(lambda call: self._run(buckets, call))
                calls.append(call)
            call.fields[name] = field
            joined[call] = None
        results = await gather([call.wait() for call in joined])
        return {name: samples for result in results for name, samples in result.items()}

    async def _run(self, buckets: Buckets, call: Call) -> dict[str, Samples]:
        """Wait until other panels have added their fields, then fetch all of them.

        A call waits while each turn of the reactor adds fields, and `COMBINE_WITHIN` longer if the
        last call was not the only one. So the panels of a dashboard share one, and a single panel's
        begins immediately.
        """
        try:
            is_alone = len(self._calls) == 1 and not self._calls[buckets]
            if self._is_crowded or not is_alone:
                await task.deferLater(self._bridge.reactor, COMBINE_WITHIN)
            count = -1
            while len(call.fields) > count:
                count = len(call.fields)
                await task.deferLater(self._bridge.reactor, 0)
            call.has_begun = True
            return await self._fetch(buckets, call.fields)
        finally:
            self._is_crowded = not is_alone or call.is_shared
            # Another call for the same buckets may be under way by now.
            self._calls[buckets].remove(call)
            if not self._calls[buckets]:
                del self._calls[buckets]

    async def _fetch(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Fetch buckets from a node, and cache those that are final."""
        node, w, first, last = buckets.node, buckets.w, buckets.first, buckets.last
        interval = Interval(max(first * w, EARLIEST), last * w)
        data = await self._bridge.fetch(node, fields, interval, bucket=w)
        fetched, is_current = {}, self._bridge.is_current(node)
        for name, column in data.items():
            final_to = NEVER_FINAL if column.final_to is None else column.final_to
            samples = fetched[name] = Samples(column.t, column.values, final_to >= last * w)
            if is_current:
                series = node.name, node.generation, name
                self._bridge.tiles.store(series, w, first, last, samples, final_to)
        return fetched

    async def _without_buckets(
        self, panel: Panel, node: KnownNode, fields: Mapping[str, Field]
    ) -> dict[str, View]:
        """Fetch samples from a node that cannot send buckets; nothing is cached."""
        share, interval = panel.share, panel.interval
        share.misses += len(fields)
        spacing = (interval.end - interval.start) / MAX_UNDECIMATED
        dense = [name for name, field in fields.items() if 0 < (field.interval or 0) < spacing]
        if dense and "max_points" not in node.features:
            share.notices.append(
                f"{node.name!r} has too many samples of {', '.join(dense)} for one reply: only one"
                f" in {spacing:g} s is shown, and peaks between them may be missing"
            )
        options = {"max_points": panel.points, "on_chunk": share.take}
        return views(await self._bridge.fetch(node, fields, interval, **options))
