"""Find views of fields for panels: out of tiles, and by calls for the ranges that are missing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer

from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Found, size_of
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import Samples, View, bucket_size, fine_bucket_size
from sisock.client.data import Series
from sisock.client.directory import KnownNode, gather
from sisock.wire.fields import Field
from sisock.wire.grid import bucket_of
from sisock.wire.protocol import MAX_BUCKETS, MAX_CELLS, Interval

MAX_PROMISED = 50_000
"""Samples of a field that a node without buckets is asked for; of more only some."""

MAX_POINTS = 32_768
"""Samples of a view, however many are asked for: no screen is wider."""

UNITE_WITHIN = 1e-3
"""Seconds in which requests for the same buckets of different fields become one call."""

_AFTER_1970 = 1e-300
"""The first UNIX time: sisock time zero is now."""


class Flight:
    """A job that begins a little later; several wait for it, and the last to leave cancels it."""

    def __init__(
        self,
        reactor: Any,
        delay: float,
        job: Callable[[], Coroutine[Any, Any, Any]],
        on_end: Callable[[], Any],
    ) -> None:
        self.has_begun = False
        self._on_end: Callable[[], Any] | None = on_end
        self._waiters: list[defer.Deferred] = []
        self._job = reactor.callLater(delay, self._begin, job)

    def wait(self) -> defer.Deferred:
        """Return what the job will return."""
        self._waiters.append(defer.Deferred(self._leave))
        return self._waiters[-1]

    def _begin(self, job: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.has_begun = True
        self._job = defer.ensureDeferred(job())
        self._job.addBoth(self._land)

    def _land(self, result: Any) -> None:
        self._end()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(result)

    def _leave(self, waiter: defer.Deferred) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._end()
            self._job.cancel()

    def _end(self) -> None:
        # Once: others for the same may be under way by then.
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


@dataclass(frozen=True)
class Buckets:
    """A range of buckets, half-open, of a node in one generation."""

    node: KnownNode
    w: float
    first: int
    last: int


class Views:
    """Find views of fields, and keep of them what is final."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        # What is under way for the same buckets: fields, which others may join, and their flight.
        self._calls: dict[Buckets, list[tuple[dict[str, Field], Flight]]] = {}

    async def find(
        self, found: Found, pairs: Iterable[Pair], interval: Interval, points: int
    ) -> dict[Pair, Any]:
        """Return a `View` of each field with at most `points` samples.

        It is a `Series` if the node knows no buckets.
        """
        points = min(points, MAX_POINTS)

        async def ask(node: KnownNode, fields: dict[str, Field]) -> Mapping[str, Series | View]:
            if "bucket" in node.features:
                return await self._from_tiles(found, node, fields, interval, points)
            return await self._without_buckets(found, node, fields, interval, points)

        return await self._bridge.ask_nodes(found, pairs, interval, ask)

    async def _from_tiles(
        self,
        found: Found,
        node: KnownNode,
        fields: Mapping[str, Field],
        interval: Interval,
        points: int,
    ) -> dict[str, View]:
        rough, seconds = bucket_size(interval, points), interval.end - interval.start
        # Where the interval promises few samples, regular data lose none.
        fine = {}
        for name, about in fields.items():
            series = node.name, node.generation, name
            spacing = self._bridge.tiles.spacing.setdefault(series, about.interval)
            if spacing and seconds <= points * spacing:
                fine[name] = fine_bucket_size(spacing)
        sizes = {name: fine.get(name, rough) for name in fields}
        views = await self._complete(found, node, fields, interval, sizes)
        irregular = {}
        for name, w in fine.items():
            if _drop_outer(views[name], interval) and rough < w:
                irregular[name] = rough
        if irregular:
            views |= await self._complete(found, node, fields, interval, irregular)
        for view in views.values():
            view.limit(points)
        return views

    async def _complete(
        self,
        found: Found,
        node: KnownNode,
        fields: Mapping[str, Field],
        interval: Interval,
        sizes: Mapping[str, float],
    ) -> dict[str, View]:
        """Return views with buckets of the given sizes, and count what came and did not come."""
        views: dict[str, View] = {}
        missing: dict[Buckets, dict[str, Field]] = {}
        now = self._bridge.now()
        for name, w in sizes.items():
            series = node.name, node.generation, name
            first, last = int(interval.start // w), int(-(-interval.end // w))
            view = views[name] = self._bridge.tiles.view(series, first, last, w, now)
            view.field = fields[name]
            found.hits += bool(view.parts)
            found.misses += not view.parts
            for begin, end in view.missing:
                for start in range(begin, end, MAX_BUCKETS):
                    key = Buckets(node, w, start, min(start + MAX_BUCKETS, end))
                    missing.setdefault(key, {})[name] = fields[name]
        if missing:
            calls = [defer.ensureDeferred(self._join(*each)) for each in missing.items()]
            for (buckets, names), samples in zip(missing.items(), await gather(calls), strict=True):
                for name in names:
                    found.share.add(size_of(*samples[name]))
                    views[name].add(buckets.first, samples[name])
        return views

    async def _join(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Return what is under way for the fields, or will be: one call, if it has room."""
        calls = self._calls.setdefault(buckets, [])
        room = MAX_CELLS // (buckets.last - buckets.first)
        joined = {}
        for name, about in fields.items():
            common = next((call for call in calls if name in call[0]), None) or next(
                (call for call in calls if not call[1].has_begun and len(call[0]) < room), None
            )
            if common is None:
                common = self._call(buckets, calls)
            common[0][name] = about
            joined[id(common)] = common[1]
        waiting = [flight.wait() for flight in joined.values()]
        return {name: found for each in await gather(waiting) for name, found in each.items()}

    def _call(
        self, buckets: Buckets, calls: list[tuple[dict[str, Field], Flight]]
    ) -> tuple[dict[str, Field], Flight]:
        fields: dict[str, Field] = {}

        def forget() -> None:
            calls.remove(call)
            if not calls:
                del self._calls[buckets]

        flight = Flight(
            self._bridge.reactor, UNITE_WITHIN, lambda: self._fetch(buckets, fields), forget
        )
        call = fields, flight
        calls.append(call)
        return call

    async def _fetch(self, buckets: Buckets, fields: Mapping[str, Field]) -> dict[str, Samples]:
        """Ask a node for buckets, and keep those that are final in the reply that brought them."""
        node, w, first, last = buckets.node, buckets.w, buckets.first, buckets.last
        interval = Interval(max(first * w, _AFTER_1970), last * w)
        data = await self._bridge.fetch(node, fields, interval, bucket=w)
        is_current = self._bridge.is_current(node)
        for name, each in data.items():
            if is_current and each.final_to is not None:
                series = node.name, node.generation, name
                samples = each.t, each.values
                self._bridge.tiles.store(series, w, first, last, samples, each.final_to)
        return {name: (each.t, each.values) for name, each in data.items()}

    async def _without_buckets(
        self,
        found: Found,
        node: KnownNode,
        fields: Mapping[str, Field],
        interval: Interval,
        points: int,
    ) -> Mapping[str, Series]:
        """Ask a node without buckets, of which nothing is kept."""
        found.misses += len(fields)
        spacing = (interval.end - interval.start) / MAX_PROMISED
        many = [each.name for each in fields.values() if each.interval and each.interval < spacing]
        if many and "max_points" not in node.features:
            found.notices.append(
                f"{node.name!r} has too many samples of {', '.join(many)} for one reply: of each"
                f" {spacing:g} s there is one, whatever lies between"
            )
        ask = self._bridge.fetch
        return await ask(node, fields, interval, max_points=points, on_chunk=found.take)


def _drop_outer(view: View, interval: Interval) -> bool:
    """Drop a last sample that is beyond the interval, if it is alone in its bucket.

    A first one may stand for an equal one within the interval. Returns whether there are buckets
    with several samples: then the data are not as regular as was said.
    """
    t, _ = view.samples()
    buckets = bucket_of(t, view.w)
    if len(t) and t[-1] >= interval.end and (buckets[-1:] != buckets[-2:-1]).all():
        view.drop_last()
    return bool((buckets[1:] == buckets[:-1]).any())
