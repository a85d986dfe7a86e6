"""Find nodes and fields for the HTTP server, and fetch from many nodes at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, TypeAlias

from twisted.internet import defer, task
from twisted.python.failure import Failure

from sisock.bridge.metrics import (
    MAX_SAMPLES,
    MEMORY_LIMIT,
    AnswerMemory,
    Overloaded,
    Share,
    TooManySamples,
)
from sisock.bridge.targets import SPECIAL, Pair, Pattern, expand, split_literally
from sisock.bridge.tiles import Samples, TileCache, View
from sisock.client.data import Data
from sisock.client.directory import Directory, KnownNode
from sisock.client.fetch import fetch
from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import RepeatedWarning, make_logger
from sisock.connection.session import Session, translated
from sisock.connection.settings import Settings
from sisock.errors import NodeTimeout, RouterUnreachable, SisockError, UnknownNode
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval

MAX_CHANGES = 1000
"""Most recent changes of the list of nodes that are kept for annotations."""

BACK_WITHIN = 1.0
"""Seconds; a node that re-registers this soon has only announced a new generation."""

_POLL_INTERVAL = 0.05

FetchFields: TypeAlias = Callable[[KnownNode, dict[str, Field]], Awaitable[Mapping[str, Any]]]
"""Fetches some fields of a node; returns the results by field name."""

_FATAL = RouterUnreachable, TooManySamples, Overloaded
"""Errors that fail the whole request; others cost one node's series and leave a notice."""


@dataclass(frozen=True)
class NodeChange:
    """Record that a node appeared or vanished, at a UNIX time."""

    t: float
    node: str
    is_present: bool


class Bridge:
    """Find nodes and fields, and fetch samples; all methods run in the reactor.

    A node may take `node_timeout` seconds for a request, the tile cache `cache_bytes` of memory,
    and an answer may have `max_samples` samples.
    """

    def __init__(
        self,
        settings: Settings,
        node_timeout: float,
        cache_bytes: int,
        max_samples: int = MAX_SAMPLES,
        reactor: Any = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.connection = RouterConnection(
            settings,
            lambda session: self.directory.joined(session),
            lambda: self.directory.left(),
            reactor,
        )
        self.reactor = self.connection.reactor
        self.directory = Directory(self.reactor, node_timeout, self._node_changed)
        self.changes: deque[NodeChange] = deque(maxlen=MAX_CHANGES)
        self.tiles = TileCache(cache_bytes)
        self.memory = AnswerMemory(MEMORY_LIMIT, max_samples)
        self.now = now
        self._timeout = node_timeout
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)

    def _node_changed(self, node: KnownNode, is_present: bool) -> None:
        vanished = self._just_vanished().get(node.name)
        if is_present and vanished is not None:
            self.changes.remove(vanished)  # it only has a new generation
        else:
            self.changes.append(NodeChange(self.now(), node.name, is_present))
        if not is_present:
            self.tiles.drop(node.name)

    def _just_vanished(self) -> dict[str, NodeChange]:
        """Return the nodes that vanished within `BACK_WITHIN`: they may just be re-registering."""
        since = self.now() - BACK_WITHIN
        recent = takewhile(lambda change: change.t >= since, reversed(self.changes))
        return {change.node: change for change in recent if not change.is_present}

    def session(self) -> Session:
        """Return the current session; raises RouterUnreachable if there is none."""
        session = self.connection.session
        if session is None:
            why = self.connection.last_error or "the router has not answered yet"
            raise RouterUnreachable(f"{why}; trying again by itself")
        return session

    async def nodes(self) -> list[KnownNode]:
        """Return all nodes, sorted by name; raises RouterUnreachable or HubMissing."""
        self.session()
        return await self.directory.nodes()

    def is_current(self, node: KnownNode) -> bool:
        """Return whether a node is still registered, in the same generation."""
        current = self.directory.current(node.name)
        return current is not None and current.generation == node.generation

    async def fields(
        self, share: Share, is_wanted: Callable[[str], bool] = lambda name: True
    ) -> dict[str, dict[str, Field]]:
        """Return the fields of all wanted nodes; a node that does not answer leaves a notice."""
        await self._wait_for_vanished(is_wanted)
        wanted = [node for node in await self.nodes() if is_wanted(node.name)]
        jobs = {node.name: self.directory.fields(node) for node in wanted}
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
        special = filter(SPECIAL.search, targets)
        literal = {text: pair for text in special if (pair := split_literally(text))}
        wild = [p for patterns in targets.values() for p in patterns if p.literal is None]
        if not wild and not literal:
            return {text: [p.literal for p in ps if p.literal] for text, ps in targets.items()}
        literal_nodes = {node for node, _ in literal.values()}
        fields = await self.fields(
            share, lambda name: name in literal_nodes or any(p.matches_node(name) for p in wild)
        )
        accepted = [
            (node, name)
            for node, fields_of_node in fields.items()
            for name, field in fields_of_node.items()
            if accepts(node, field)
        ]
        found = {text: expand(ps, accepted) for text, ps in targets.items()}
        # Names may contain special characters: a field whose name is the text itself comes first.
        for text, (node, name) in literal.items():
            if name in fields.get(node, ()):
                found[text] = [(node, name)]
        return found

    async def samples(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, min_stride: float | None
    ) -> dict[Pair, View]:
        """Return all samples of fields, or samples at least `min_stride` seconds apart."""

        async def fetch_fields(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
            options = {"min_stride": min_stride, "on_chunk": share.take}
            return views(await self.fetch(node, fields, interval, **options))

        return await self.ask_nodes(share, pairs, interval, fetch_fields)

    async def fetch(
        self, node: KnownNode, fields: Mapping[str, Field], interval: Interval, **options: Any
    ) -> Data:
        """Fetch samples from a node; `options` are those of `sisock.client.fetch.fetch`."""
        options["timeout"] = self._timeout
        with translated(node.name):
            return await fetch(self.session(), node, fields, interval, **options)

    async def ask_nodes(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, fetch_fields: FetchFields
    ) -> dict[Pair, Any]:
        """Call `fetch_fields` for all nodes at the same time, each with its existing fields.

        Errors become notices, except RouterUnreachable, HubMissing, TooManySamples and Overloaded.
        """
        by_node: dict[str, dict[str, None]] = {}
        for node, name in pairs:
            by_node.setdefault(node, {})[name] = None
        if not by_node or interval.start >= interval.end:
            fetch_fields = _empty_views
        self.session()
        jobs = {node: self._ask_node(node, names, fetch_fields) for node, names in by_node.items()}
        answers = await self._run_all(share, jobs)
        return {(node, name): one for node, ones in answers.items() for name, one in ones.items()}

    async def _ask_node(
        self, name: str, field_names: Iterable[str], fetch_fields: FetchFields
    ) -> Mapping[str, Any]:
        """Call `fetch_fields` for one node; once more if its generation changed meanwhile."""
        for is_last in (False, True):
            node = await self._find_node(name)
            if node is None and is_last:
                raise UnknownNode(f"the data node {name!r} has just gone")
            if node is None:
                break
            try:
                fields = await self.directory.fields(node, field_names)
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
        if (node := self.directory.current(name)) is None:
            await self._wait_for_vanished(name.__eq__)
            node = await self.directory.node(name)
        return node

    async def _find_node(self, name: str) -> KnownNode | None:
        try:
            return await self.node(name)
        except UnknownNode:
            return None

    async def _wait_for_vanished(self, is_wanted: Callable[[str], bool]) -> None:
        """Wait briefly for nodes that just vanished: they may return in a new generation."""
        while any(map(is_wanted, self._just_vanished())):
            self.session()
            await task.deferLater(self.reactor, _POLL_INTERVAL)

    async def _run_all(
        self, share: Share, jobs: Mapping[str, Coroutine[Any, Any, Any]]
    ) -> dict[str, Any]:
        """Run a coroutine per node, with a time limit; one that fails leaves only a notice."""
        started = {name: defer.ensureDeferred(job) for name, job in jobs.items()}
        results: dict[str, Any] = {}
        waiting = []
        for name, job in started.items():
            if not job.called:
                waiting.append(job.addTimeout(self._timeout, self.reactor))
            job.addBoth(partial(results.__setitem__, name))
        if waiting:
            await defer.DeferredList(waiting)
        for name in jobs:
            if not isinstance(failure := results[name], Failure):
                continue
            del results[name]
            if failure.check(*_FATAL, defer.CancelledError):
                results.clear()  # an error's traceback would keep the samples in memory
                raise failure.value
            share.notices.append(self._explain(name, failure.value))
            self._warn(share.notices[-1])
            # A lost session ends calls with various errors: report RouterUnreachable instead.
            self.session()
        return results

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


async def _empty_views(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
    """Return views without samples, as an interval of length zero has none."""
    return {name: View(field, []) for name, field in fields.items()}
