"""Find views of fields for panels: out of tiles, and by calls for the ranges that are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from twisted.internet import defer, task

from sisock.bridge.bridge import Bridge, views
from sisock.bridge.metrics import Share, size_of
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import MAX_POINTS, Parts, Samples, View
from sisock.client.directory import KnownNode
from sisock.connection.session import gather
from sisock.wire.fields import Field
from sisock.wire.protocol import MAX_BUCKETS, MAX_CELLS, MAX_EXPONENT, MIN_EXPONENT, Interval

MAX_PROMISED = 50_000
"""Samples of a field that a node without buckets is asked for; of more only some."""

UNITE_WITHIN = 1e-3
"""Seconds that a call waits for more fields of the same buckets, if others are under way."""

_AFTER_1970 = 1e-300
"""The first UNIX time: sisock time zero is now."""


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


@dataclass(frozen=True)
class Buckets:
    """A range of buckets, half-open, of a node in one generation."""

    node: KnownNode
    w: float
    first: int
    last: int


class Call:
    """A call for buckets, which fields may join until it has begun.

    Several wait for it, and the last to leave cancels it.
    """

    def __init__(self, ask: Callable[[Call], Coroutine[Any, Any, Any]]) -> None:
        self.fields: dict[str, Field] = {}
        self.has_begun = False
        self._waiters: list[defer.Deferred] = []
        self._job = defer.ensureDeferred(ask(self))
        self._job.addBoth(self._end)

    def wait(self) -> defer.Deferred:
        """Return what the call returns."""
        waiter: defer.Deferred = defer.Deferred(self._leave)
        self._waiters.append(waiter)
        return waiter

    def _end(self, result: Any) -> None:
        while self._waiters:
            self._waiters.pop(0).callback(result)

    def _leave(self, waiter: defer.Deferred) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._job.cancel()


class Panel(NamedTuple):
    """What a panel asks for, and its share of the memory."""

    share: Share
    interval: Interval
    points: int


class Views:
    """Find views of fields, and keep of them what is final."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        # What is under way for the same buckets.
        self._calls: dict[Buckets, list[Call]] = {}

    async def find(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, points: int
    ) -> dict[Pair, View]:
        """Return views of fields with at most `points` samples each."""
        panel = Panel(share, interval, min(points, MAX_POINTS))

        async def ask(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
            find = self._from_tiles if "bucket" in node.features else self._without_buckets
            return await find(panel, node, fields)

        return await self._bridge.ask_nodes(share, pairs, interval, ask)

    async def _from_tiles(
        self, panel: Panel, node: KnownNode, fields: Mapping[str, Field]
    ) -> dict[str, View]:
        interval, points = panel.interval, panel.points
        rough, seconds = bucket_size(interval, points), interval.end - interval.start
        # Where the interval promises few samples, regular data lose none.
        fine = {}
        for name, about in fields.items():
            series = node.name, node.generation, name
            spacing = self._bridge.tiles.spacing.setdefault(series, about.interval)
            if spacing and seconds <= points * spacing:
                fine[name] = fine_bucket_size(spacing)
        sizes = {name: fine.get(name, rough) for name in fields}
        views = await self._complete(panel, node, fields, sizes)
        irregular = {}
        for name, w in fine.items():
            if views[name].drop_outer(w, interval.end) and rough < w:
                irregular[name] = rough
        if irregular:
            views |= await self._complete(panel, node, fields, irregular)
        for name, view in views.items():
            view.limit(points, irregular.get(name, sizes[name]))
        return views

    async def _complete(
        self,
        panel: Panel,
        node: KnownNode,
        fields: Mapping[str, Field],
        sizes: Mapping[str, float],
    ) -> dict[str, View]:
        """Return views with buckets of the given sizes, and count what came and did not come."""
        there: dict[str, Parts] = {}
        missing: dict[Buckets, dict[str, Field]] = {}
        share, interval, now = panel.share, panel.interval, self._bridge.now()
        for name, w in sizes.items():
            series = node.name, node.generation, name
            first, last = int(interval.start // w), int(-(-interval.end // w))
            parts = there[name] = self._bridge.tiles.find(series, first, last, w, now)
            share.hits += parts.is_known
            share.misses += not parts.is_known
            for begin, end in parts.missing:
                for start in range(begin, end, MAX_BUCKETS):
                    key = Buckets(node, w, start, min(start + MAX_BUCKETS, end))
                    missing.setdefault(key, {})[name] = fields[name]
        if missing:
            calls = [defer.ensureDeferred(self._join(*each)) for each in missing.items()]
            for names, came in zip(missing.values(), await gather(calls), strict=True):
                share.add(sum(size_of(came[name].t, came[name].values) for name in names))
                for name in names:
                    there[name].add(came[name], 0, len(came[name]))
        return {name: parts.view(fields[name]) for name, parts in there.items()}

    async def _join(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Return what is under way for the fields, or will be: one call, if it has room."""
        calls = self._calls.setdefault(buckets, [])
        room = MAX_CELLS // (buckets.last - buckets.first)
        joined: dict[Call, None] = {}
        for name, about in fields.items():
            # Those that are open to others are the last ones.
            for call in calls:
                if name in call.fields or not (call.has_begun or len(call.fields) >= room):
                    break
            else:
                call = Call(lambda call: self._united(buckets, call))
                calls.append(call)
            call.fields[name] = about
            joined[call] = None
        came = await gather([call.wait() for call in joined])
        return {name: found for each in came for name, found in each.items()}

    async def _united(self, buckets: Buckets, call: Call) -> dict[str, Samples]:
        """Wait for other fields, and ask for all of them.

        Who comes alone waits for nobody; of a dashboard's panels the first does, the others share.
        """
        try:
            is_first = len(self._calls) == 1 and not self._calls[buckets]
            await task.deferLater(self._bridge.reactor, 0 if is_first else UNITE_WITHIN)
            call.has_begun = True
            return await self._fetch(buckets, call.fields)
        finally:
            # Others for the same may be under way by now.
            self._calls[buckets].remove(call)
            if not self._calls[buckets]:
                del self._calls[buckets]

    async def _fetch(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Ask a node for buckets, and keep those that are final in the reply that brought them."""
        node, w, first, last = buckets.node, buckets.w, buckets.first, buckets.last
        interval = Interval(max(first * w, _AFTER_1970), last * w)
        data = await self._bridge.fetch(node, fields, interval, bucket=w)
        came = {name: Samples(each.t, each.values) for name, each in data.items()}
        for name, each in data.items():
            if self._bridge.is_current(node) and each.final_to is not None:
                series = node.name, node.generation, name
                self._bridge.tiles.store(series, w, first, last, came[name], each.final_to)
        return came

    async def _without_buckets(
        self, panel: Panel, node: KnownNode, fields: Mapping[str, Field]
    ) -> dict[str, View]:
        """Ask a node without buckets, of which nothing is kept."""
        share, interval = panel.share, panel.interval
        share.misses += len(fields)
        spacing = (interval.end - interval.start) / MAX_PROMISED
        many = [each.name for each in fields.values() if each.interval and each.interval < spacing]
        if many and "max_points" not in node.features:
            share.notices.append(
                f"{node.name!r} has too many samples of {', '.join(many)} for one reply: of each"
                f" {spacing:g} s there is one, whatever lies between"
            )
        how = {"max_points": panel.points, "on_chunk": share.take}
        return views(await self._bridge.fetch(node, fields, interval, **how))
