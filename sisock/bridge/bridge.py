"""Find nodes and fields for the HTTP server, and fetch from many nodes at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from twisted.internet import defer, task

from sisock.bridge.metrics import AnswerMemory, Overloaded, Share, TooManySamples
from sisock.bridge.targets import Pair, Pattern, Search
from sisock.bridge.tiles import Samples, TileCache, View
from sisock.client.data import Data
from sisock.client.fetch import fetch
from sisock.client.site import NodeList, Site, Sites
from sisock.connection.runtime import RepeatedWarning, make_logger
from sisock.connection.session import gather
from sisock.connection.settings import Settings
from sisock.errors import NodeTimeout, RouterUnreachable, SisockError, SiteUnreachable, UnknownNode
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import Interval

MAX_CHANGES = 5_000  # number of recent changes of the list of nodes kept for annotations
BACK_WITHIN = 1.0  # seconds; a node that is back this soon has only announced a new generation
_POLL_INTERVAL = 0.05

FetchFields: TypeAlias = Callable[[KnownNode, dict[str, Field]], Awaitable[Mapping[str, Any]]]
"""Fetches some fields of a node; returns the results by field name."""

_FATAL = RouterUnreachable, TooManySamples, Overloaded, defer.CancelledError
"""Errors that fail the whole request; others, also those of a site, become notices."""


@dataclass(frozen=True)
class NodeChange:
    """Record that a node appeared or vanished, at a UNIX time."""

    t: float
    node: str
    is_present: bool


class Changes(deque[NodeChange]):
    """Keep the most recent changes, in time order; `now` returns the UNIX time."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(maxlen=MAX_CHANGES)
        self._now = now

    def note(self, node: KnownNode, is_present: bool) -> None:
        """Note that a node appeared or vanished, unless it only has a new generation."""
        vanished = self.just_vanished().get(node.name)
        if is_present and vanished is not None:
            self.remove(vanished)
        else:
            self.append(NodeChange(self._now(), node.name, is_present))

    def just_vanished(self) -> dict[str, NodeChange]:
        """Return the nodes that vanished less than `BACK_WITHIN` ago; they may be back soon."""
        since = self._now() - BACK_WITHIN
        recent = takewhile(lambda change: change.t >= since, reversed(self))
        return {change.node: change for change in recent if not change.is_present}


class Bridge:
    """Find nodes and fields, and fetch samples; all methods run in the reactor.

    `routers` are those of all sites, or only one. A node may take `node_timeout` seconds for a
    request, the tile cache `cache_bytes` of memory, and an answer may have `max_samples` samples.
    """

    def __init__(
        self,
        routers: Iterable[Settings],
        node_timeout: float,
        cache_bytes: int,
        max_samples: int,
        reactor: Any = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.changes = Changes(now)
        every = [Site(each, node_timeout, reactor, self.changes.note) for each in routers]
        self.sites = Sites(every)
        self.reactor = every[0].reactor
        self.tiles = TileCache(cache_bytes)
        self.memory = AnswerMemory(max_samples=max_samples)
        self.now = now
        self._timeout = node_timeout
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)

    async def nodes(self, is_wanted: Callable[[str], bool] = lambda site: True) -> NodeList:
        """Return the nodes of the wanted sites, by name; raises RouterUnreachable or HubMissing.

        Leaves out the nodes of unreachable sites; raises if no site can be reached.
        """
        self.sites.check()
        found = await self.sites.nodes(is_fresh=False, is_wanted=is_wanted)
        is_nothing_left = found.unreachable.keys() == set(filter(is_wanted, self.sites))
        return found.check() if is_nothing_left else found

    def is_current(self, node: KnownNode) -> bool:
        """Return whether a node is still registered, in the same generation."""
        current = self.sites[node.site].directory.current(node.name)
        return current is not None and current.generation == node.generation

    async def fields(
        self,
        share: Share,
        is_wanted: Callable[[str], bool] = lambda name: True,
        is_site_wanted: Callable[[str], bool] = lambda site: True,
    ) -> dict[str, dict[str, Field]]:
        """Return the fields of all wanted nodes.

        A node that does not answer leaves a notice, and so does an unreachable wanted site.
        """
        await self._wait_for_vanished(is_wanted)
        listed = await self.nodes(is_site_wanted)
        share.notices += listed.unreachable.values()
        wanted = [node for node in listed if is_wanted(node.name)]
        jobs = {node.name: self.sites[node.site].directory.fields(node) for node in wanted}
        return await self._run_all(share, jobs)

    async def find(
        self,
        share: Share,
        targets: Mapping[str, Sequence[Pattern]],
        accepts: Callable[[str, Field], bool] = lambda node, field: True,
    ) -> dict[str, list[Pair]]:
        """Return the fields that targets match, by the text of each target.

        `accepts` filters what wildcards match.
        """
        search = Search(targets)
        fields: dict[str, dict[str, Field]] = {}
        if search.needs_fields:
            fields = await self.fields(share, search.concerns_node, search.concerns_site)
        return search.match(fields, accepts)

    async def samples(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, min_stride: float | None
    ) -> dict[Pair, View]:
        """Return all samples of fields, or samples at least `min_stride` seconds apart."""

        async def fetch_fields(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
            options = {"min_stride": min_stride, "on_chunk": share.take}
            return views(await self.fetch(node, fields, interval, **options))

        return await self.ask_nodes(share, pairs, fetch_fields)

    async def fetch(
        self, node: KnownNode, fields: Mapping[str, Field], interval: Interval, **options: Any
    ) -> Data:
        """Fetch samples from a node; `options` are those of `sisock.client.fetch.fetch`."""
        options["timeout"] = self._timeout
        return await fetch(self.sites[node.site].current(), node, fields, interval, **options)

    async def ask_nodes(
        self, share: Share, pairs: Iterable[Pair], fetch_fields: FetchFields
    ) -> dict[Pair, Any]:
        """Call `fetch_fields` for all nodes at the same time, each with its existing fields.

        Errors become notices, except RouterUnreachable, TooManySamples and Overloaded. An
        unreachable site becomes a notice, too, unless nothing is left without it.
        """
        by_node: dict[str, dict[str, None]] = {}
        for node, name in pairs:
            by_node.setdefault(node, {})[name] = None
        self.sites.check()
        jobs = {node: self._ask_node(node, names, fetch_fields) for node, names in by_node.items()}
        answers = await self._run_all(share, jobs)
        return {(node, name): one for node, ones in answers.items() for name, one in ones.items()}

    async def _ask_node(
        self, name: str, field_names: Iterable[str], fetch_fields: FetchFields
    ) -> Mapping[str, Any]:
        """Call `fetch_fields` for one node; once more if its generation changed meanwhile."""
        for is_last in (False, True):
            try:
                node = await self.node(name)
            except UnknownNode:
                if is_last:
                    raise UnknownNode(f"the data node {name!r} has just gone") from None
                break
            try:
                fields = await self.sites[node.site].directory.fields(node, field_names)
                wanted = {field: fields[field] for field in field_names if field in fields}
                results = await fetch_fields(node, wanted) if wanted else {}
                if is_last or self.is_current(node):
                    return results
            except SisockError as error:
                if is_last or isinstance(error, _FATAL) or self.is_current(node):
                    raise
            # The node vanished or re-registered meanwhile: its samples may have changed.
        return {}

    async def node(self, name: str) -> KnownNode:
        """Return a node; raises UnknownNode, RouterUnreachable or HubMissing."""
        site = self.sites.of(name)
        site.current()
        if (node := site.directory.current(name)) is None:
            await self._wait_for_vanished(name.__eq__)
            node = await site.directory.node(name)
        return node

    async def _wait_for_vanished(self, is_wanted: Callable[[str], bool]) -> None:
        """Wait briefly for nodes that just vanished: they may return in a new generation."""
        end = self.reactor.seconds() + BACK_WITHIN
        while any(map(is_wanted, self.changes.just_vanished())):
            self.sites.check()
            if self.reactor.seconds() > end:
                return  # do not wait for nodes that come and go all the time
            await task.deferLater(self.reactor, _POLL_INTERVAL)

    async def _run_all(
        self, share: Share, jobs: Mapping[str, Coroutine[Any, Any, Any]]
    ) -> dict[str, Any]:
        """Run a coroutine per node, with a time limit; one that fails leaves only a notice."""
        results: dict[str, Any] = {}
        lost: list[SiteUnreachable] = []

        async def run(name: str, job: Coroutine[Any, Any, Any]) -> None:
            started = defer.ensureDeferred(job)
            if not started.called:  # the cache answers most at once
                started.addTimeout(self._timeout, self.reactor)
            try:
                results[name] = await started
            except Exception as failure:
                error = self._cause(name, failure)
                if isinstance(error, SiteUnreachable):
                    lost.append(error)
                elif isinstance(error, _FATAL):
                    results.clear()  # an error's traceback would keep the samples in memory
                    raise error from None
                share.notices.append(self._explain(name, error))
                self._warn(share.notices[-1])

        await gather([run(name, job) for name, job in jobs.items()])
        if lost and len(lost) == len(jobs):
            raise lost[0]
        return {name: results[name] for name in jobs if name in results}

    def _cause(self, name: str, error: Exception) -> Exception:
        """Return the cause of a node's failure: a lost session ends calls with various errors."""
        site = self.sites.of(name)
        is_lost = site.connection.session is None and not isinstance(error, _FATAL)
        return site.lost() if is_lost else site.with_name(error)

    def _explain(self, name: str, error: Exception) -> str:
        """Return the notice of a node that failed; an unexpected error is logged, too."""
        if isinstance(error, defer.TimeoutError):
            error = NodeTimeout(f"the data node {name!r} did not answer in {self._timeout:g} s")
        if isinstance(error, SisockError):
            return str(error)
        kind, why = type(error).__name__, str(error)
        message = "the answer of {node!r} failed: {kind}: {why}"
        self._log.error(message, node=name, kind=kind, why=why)
        return f"the answer of the data node {name!r} cannot be used ({kind})"


def views(data: Data) -> dict[str, View]:
    """Return all fetched samples as views, by field name."""
    return {name: View.whole(one.field, Samples(one.t, one.values)) for name, one in data.items()}
