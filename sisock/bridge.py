"""What the Grafana bridge knows and asks: nodes, their fields, and samples of many at once."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from twisted.internet import defer, task

from sisock.async_client import Node, parse_node, translated
from sisock.errors import NodeTimeout, RouterUnreachable, SisockError
from sisock.fetch import fetch
from sisock.fields import Field, parse_fields
from sisock.logs import make_logger
from sisock.protocol import Interval, node_uri, uri
from sisock.received import Series, join
from sisock.sample_cache import Kept, SampleCache, final_until
from sisock.session import RouterConnection, Session
from sisock.settings import Settings

EVENTS_KEPT = 1000
"""Comings and goings of nodes that annotations can show."""

LOOK_AGAIN_AFTER = 5.0
"""Seconds after which a field that a node did not have is looked for once more."""

HUB_RETRY = 2.0


@dataclass(frozen=True)
class NodeChange:
    """A node that came or went, at a UNIX time."""

    t: float
    node: str
    present: bool


@dataclass
class KnownNode:
    """A node in the hub's list.

    A node that went and came is another one, by `incarnation`: nothing kept of it holds any more.
    """

    node: Node
    incarnation: int
    fields: dict[str, Field] | None = None
    looked_up: float = -math.inf


@dataclass
class Samples:
    """What was found for a request: series by node and field, and what to tell about the rest."""

    series: dict[tuple[str, str], Series]
    notices: list[str]
    cache_hits: int = 0
    cache_misses: int = 0

    def pick(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, Series]]:
        """Node and series of those of `wanted` that were found, in their order."""
        return [(pair[0], self.series[pair]) for pair in wanted if pair in self.series]


class Bridge:
    """The consumer behind the HTTP server; all methods run in the reactor.

    Parameters
    ----------
    settings : Settings
        Where the router is.
    node_timeout : float
        Seconds that one node may take for one request.
    cache_bytes : int
        Memory for samples that never change.
    """

    def __init__(
        self, settings: Settings, node_timeout: float, cache_bytes: int, reactor: Any = None
    ) -> None:
        self.connection = RouterConnection(settings, self._joined, self._left, reactor)
        self.node_timeout = node_timeout
        self.cache = SampleCache(cache_bytes)
        self.changes: deque[NodeChange] = deque(maxlen=EVENTS_KEPT)
        self.nodes: dict[str, KnownNode] = {}
        self._incarnations = itertools.count()
        self._log = make_logger()

    async def _joined(self, session: Session) -> None:
        await session.subscribe(self._node_added, uri("consumer.data_node_added"))
        await session.subscribe(self._node_subtracted, uri("consumer.data_node_subtracted"))
        while True:
            try:
                await self.refresh_nodes()
                return
            except SisockError as error:
                self._log.info("{why}; trying again", why=str(error))
            await task.deferLater(self.connection.reactor, HUB_RETRY)

    def _left(self) -> None:
        # Nodes may come back with other samples: nothing that is known holds any more.
        self.nodes.clear()
        self.cache.clear()

    def _node_added(self, entry: Any, *_: Any, **__: Any) -> None:
        node = parse_node(entry)
        self._forget(node.name)
        self.nodes[node.name] = KnownNode(node, next(self._incarnations))
        self.changes.append(NodeChange(time.time(), node.name, True))

    def _node_subtracted(self, entry: Any, *_: Any, **__: Any) -> None:
        name = parse_node(entry).name
        self._forget(name)
        self.changes.append(NodeChange(time.time(), name, False))

    def _forget(self, name: str) -> None:
        if self.nodes.pop(name, None) is not None:
            self.cache.drop_all(lambda key: key[0] == name)

    def session(self) -> Session:
        """The session.

        Raises
        ------
        RouterUnreachable
            If there is none at the moment.
        """
        session = self.connection.session
        if session is None:
            raise RouterUnreachable(
                str(self.connection.last_error or "the router has not answered yet")
                + "; trying again by itself"
            )
        return session

    async def refresh_nodes(self) -> None:
        """Bring what is known of nodes up to the hub's list.

        Raises
        ------
        RouterUnreachable, HubMissing
            If it cannot be asked.
        """
        session = self.session()
        with translated(None):
            listed = await session.request(uri("consumer.get_data_node"), timeout=self.node_timeout)
        nodes = {node.name: node for node in map(parse_node, listed)}
        for name in self.nodes.keys() - nodes.keys():
            self._forget(name)
        for name in nodes.keys() - self.nodes.keys():
            self.nodes[name] = KnownNode(nodes[name], next(self._incarnations))

    async def catalogue(self) -> tuple[list[tuple[str, Field]], list[str]]:
        """Every field of every node, by name; and a notice for each node that did not answer."""
        await self.refresh_nodes()
        known = [self.nodes[name] for name in sorted(self.nodes)]
        answers, notices = await self._at_once(
            [(each.node.name, self._fields_of(each)) for each in known]
        )
        return [
            (name, field) for name, fields in answers.items() for field in fields.values()
        ], notices

    async def samples(
        self, wanted: Iterable[tuple[str, str]], interval: Interval, min_stride: float | None
    ) -> Samples:
        """Ask all nodes at the same time, each for all of its fields in one call.

        Parameters
        ----------
        wanted : iterable of (str, str)
            Node and field. What does not exist has no series in the result.
        interval : Interval
            UNIX seconds.
        min_stride : float or None
            Seconds between successive samples, at least.
        """
        by_node: dict[str, list[str]] = {}
        for node, name in wanted:
            by_node.setdefault(node, []).append(name)
        if not by_node.keys() <= self.nodes.keys():
            await self.refresh_nodes()
        self.session()
        found = Samples({}, [])
        answers, found.notices = await self._at_once(
            [
                (node, self._node_samples(node, sorted(set(names)), interval, min_stride, found))
                for node, names in by_node.items()
            ]
        )
        for node, series in answers.items():
            found.series.update({(node, name): each for name, each in series.items()})
        return found

    async def _at_once(self, jobs: list[tuple[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        """Wait for one coroutine a node, none longer than the limit; a failed one is a notice."""
        reactor, limit = self.connection.reactor, self.node_timeout
        started = [
            (name, defer.ensureDeferred(job).addTimeout(limit, reactor)) for name, job in jobs
        ]
        answers: dict[str, Any] = {}
        notices = []
        for name, answer in started:
            try:
                answers[name] = await answer
            except (SisockError, defer.TimeoutError) as error:
                if isinstance(error, defer.TimeoutError):
                    error = NodeTimeout(f"the data node {name!r} did not answer in {limit:g} s")
                notices.append(str(error))
                self._log.warn("{why}", why=str(error))
        return answers, notices

    async def _fields_of(self, known: KnownNode) -> dict[str, Field]:
        if known.fields is None:
            known.looked_up = time.monotonic()
            name = known.node.name
            with translated(name):
                raw = await self.session().request(
                    node_uri(name, "get_fields"), 1, 0, timeout=self.node_timeout
                )
            known.fields = parse_fields(raw, name)
        return known.fields

    async def _node_samples(
        self,
        node: str,
        names: list[str],
        interval: Interval,
        min_stride: float | None,
        found: Samples,
    ) -> dict[str, Series]:
        known = self.nodes.get(node)
        if known is None:
            return {}
        fields = await self._fields_of(known)
        if (
            any(name not in fields for name in names)
            and time.monotonic() - known.looked_up > LOOK_AGAIN_AFTER
        ):
            known.fields = None
            fields = await self._fields_of(known)
        wanted = {name: fields[name] for name in names if name in fields}
        if not wanted:
            return {}
        query = _NodeQuery(self, known, wanted, interval, min_stride)
        series = await query.run()
        found.cache_hits += query.hits
        found.cache_misses += query.misses
        if self.nodes.get(node) is known:
            return series
        # The node went, and perhaps came, meanwhile: what was kept of it may be wrong.
        known = self.nodes.get(node)
        if known is None:
            return {}
        return await _NodeQuery(self, known, wanted, interval, min_stride).run()


class _NodeQuery:
    """One request to one node: what is kept is taken from memory, the rest is asked for."""

    def __init__(
        self,
        bridge: Bridge,
        known: KnownNode,
        fields: dict[str, Field],
        interval: Interval,
        min_stride: float | None,
    ) -> None:
        self._bridge = bridge
        self._known = known
        self._fields = fields
        self._interval = interval
        self._stride = min_stride or None
        self._kept = self._look_up()
        self.hits = len(self._kept)
        self.misses = len(fields) - len(self._kept)

    def _key(self, name: str) -> tuple:
        # Which samples are kept at a spacing, and where one is missing, depends on all the fields
        # that are asked for together.
        known = self._known
        return known.node.name, known.incarnation, tuple(self._fields), self._stride, name

    def _look_up(self) -> dict[str, Kept]:
        kept = {
            name: found
            for name in self._fields
            if (found := self._bridge.cache.get(self._key(name), self._interval.start))
        }
        # One call asks for all fields: a part of them would not make it shorter.
        return kept if len(kept) == len(self._fields) else {}

    def _resume(self, kept: Kept) -> float:
        """From when on samples are still wanted."""
        if self._stride is None or not len(kept.t):
            return kept.end
        return max(kept.end, float(kept.t[-1]) + self._stride)

    async def run(self) -> dict[str, Series]:
        interval, node = self._interval, self._known.node
        start = min((self._resume(kept) for kept in self._kept.values()), default=interval.start)
        fresh: dict[str, Series] = {}
        if start < interval.end:
            bridge = self._bridge
            with translated(node.name):
                pieces = await fetch(
                    bridge.session(),
                    node.name,
                    node.features,
                    list(self._fields),
                    start,
                    interval.end,
                    self._stride,
                    bridge.node_timeout,
                )
            fresh = dict(join(pieces, self._fields, node.name))
        return {name: self._merge(name, fresh.get(name)) for name in self._fields}

    def _merge(self, name: str, fresh: Series | None) -> Series:
        kept = self._kept.get(name)
        if kept is None:
            assert fresh is not None
            merged = fresh
        elif fresh is None or not len(fresh):
            merged = self._series(name, kept.t, kept.values)
        else:
            first = int(np.searchsorted(fresh.t, self._resume(kept)))
            merged = self._series(
                name,
                np.concatenate([kept.t, fresh.t[first:]]),
                _concatenate(kept.values, fresh.values[first:]),
            )
        self._keep(name, kept, fresh, merged)
        low, high = np.searchsorted(merged.t, [self._interval.start, self._interval.end])
        return self._series(name, merged.t[low:high], merged.values[low:high])

    def _series(self, name: str, t: np.ndarray, values: np.ndarray) -> Series:
        return Series(self._fields[name], t, values)

    def _keep(self, name: str, kept: Kept | None, fresh: Series | None, merged: Series) -> None:
        interval = self._interval
        if fresh is None or not len(fresh):
            return
        start = interval.start if kept is None else kept.start
        end = final_until(fresh.t, interval.end, fresh.finalized_until)
        if kept is not None and end < kept.end:
            return
        # A window that moves on leaves behind what it does not show any more.
        start = max(start, interval.start - (interval.end - interval.start))
        low, high = np.searchsorted(merged.t, [start, end])
        t, values = merged.t[low:high].copy(), merged.values[low:high].copy()
        if self._bridge.nodes.get(self._known.node.name) is self._known:
            self._bridge.cache.put(self._key(name), Kept(start, end, t, values))


def _concatenate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if object in (first.dtype, second.dtype):
        first, second = first.astype(object), second.astype(object)
    return np.concatenate([first, second])
