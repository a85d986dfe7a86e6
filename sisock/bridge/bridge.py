"""Be the consumer behind the HTTP server: the nodes, their fields, and calls of many at once."""

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
from sisock.bridge.targets import SPECIAL, Pair, Pattern, as_it_stands, expand
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
"""Comings and goings of nodes that annotations can show."""

BACK_WITHIN = 1.0
"""Seconds: a node that vanished and is back so soon has only said that its samples changed."""

_POLL = 0.05

Ask: TypeAlias = Callable[[KnownNode, dict[str, Field]], Awaitable[Mapping[str, Any]]]
"""Asks a node for fields of it; what comes is by their names."""

_EVERYBODYS = RouterUnreachable, TooManySamples, Overloaded
"""Errors of a whole request: none is just an empty series of one node."""


@dataclass(frozen=True)
class NodeChange:
    """A node that came or went, at a UNIX time."""

    t: float
    node: str
    is_present: bool


class Bridge:
    """The consumer behind the HTTP server; all methods run in the reactor.

    A node may take `node_timeout` seconds for a request, tiles `cache_bytes`; a request for more
    than `max_samples` fails.
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
            self.changes.remove(vanished)  # it has only a new generation
        else:
            self.changes.append(NodeChange(self.now(), node.name, is_present))
        if not is_present:
            self.tiles.drop(node.name)

    def _just_vanished(self) -> dict[str, NodeChange]:
        """Return the nodes that went so shortly ago that they may be back at once."""
        since = self.now() - BACK_WITHIN
        recent = takewhile(lambda change: change.t >= since, reversed(self.changes))
        return {change.node: change for change in recent if not change.is_present}

    def session(self) -> Session:
        """Return the session; raises RouterUnreachable if there is none at the moment."""
        session = self.connection.session
        if session is None:
            why = self.connection.last_error or "the router has not answered yet"
            raise RouterUnreachable(f"{why}; trying again by itself")
        return session

    async def nodes(self) -> list[KnownNode]:
        """Return the nodes by name; raises RouterUnreachable or HubMissing."""
        self.session()
        return await self.directory.nodes()

    def is_current(self, node: KnownNode) -> bool:
        """Return whether a node is still there, in the same generation."""
        current = self.directory.current(node.name)
        return current is not None and current.generation == node.generation

    async def fields(
        self, share: Share, is_wanted: Callable[[str], bool] = lambda name: True
    ) -> dict[str, dict[str, Field]]:
        """Return the fields of every wanted node; of one that does not answer there is a notice."""
        await self._wait_for_vanished(is_wanted)
        wanted = [node for node in await self.nodes() if is_wanted(node.name)]
        asked = {node.name: self.directory.fields(node) for node in wanted}
        return await self._at_once(share, asked)

    async def find(
        self,
        share: Share,
        targets: Mapping[str, Sequence[Pattern]],
        accepts: Callable[[str, Field], bool] = lambda node, field: True,
    ) -> dict[str, list[Pair]]:
        """Return the fields that targets stand for, by their texts.

        `accepts` restricts what wildcards find.
        """
        odd = filter(SPECIAL.search, targets)
        bare = {text: pair for text in odd if (pair := as_it_stands(text))}
        wild = [p for each in targets.values() for p in each if p.literal is None]
        if not wild and not bare:
            return {text: [p.literal for p in each if p.literal] for text, each in targets.items()}
        holders = {node for node, _ in bare.values()}
        fields = await self.fields(
            share, lambda name: name in holders or any(p.matches_node(name) for p in wild)
        )
        passed = [
            (node, name)
            for node, known in fields.items()
            for name, about in known.items()
            if accepts(node, about)
        ]
        found = {text: expand(patterns, passed) for text, patterns in targets.items()}
        # Any character may be part of a name: the field that is there as it stands is meant.
        here = {text: [pair] for text, pair in bare.items() if pair[1] in fields.get(pair[0], ())}
        return found | here

    async def samples(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, min_stride: float | None
    ) -> dict[Pair, View]:
        """Return all samples of fields, or those that are `min_stride` seconds apart."""

        async def ask(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
            how = {"min_stride": min_stride, "on_chunk": share.take}
            return views(await self.fetch(node, fields, interval, **how))

        return await self.ask_nodes(share, pairs, interval, ask)

    async def fetch(
        self, node: KnownNode, fields: Mapping[str, Field], interval: Interval, **how: Any
    ) -> Data:
        """Ask a node for samples (`sisock.client.fetch.fetch`)."""
        with translated(node.name):
            return await fetch(self.session(), node, fields, interval, timeout=self._timeout, **how)

    async def ask_nodes(
        self, share: Share, pairs: Iterable[Pair], interval: Interval, ask: Ask
    ) -> dict[Pair, Any]:
        """Ask all nodes at the same time, each for all of its fields that there are.

        Errors are notices, but for RouterUnreachable, HubMissing, TooManySamples and Overloaded.
        """
        by_node: dict[str, dict[str, None]] = {}
        for node, name in pairs:
            by_node.setdefault(node, {})[name] = None
        if not by_node or interval.start >= interval.end:
            ask = _nothing
        self.session()
        asked = {name: self._ask_node(name, names, ask) for name, names in by_node.items()}
        answers = await self._at_once(share, asked)
        return {(node, name): each for node, a in answers.items() for name, each in a.items()}

    async def _ask_node(self, name: str, names: Iterable[str], ask: Ask) -> Mapping[str, Any]:
        for is_last in (False, True):
            node = self.directory.current(name) or await self._find_node(name)
            if node is None and is_last:
                raise UnknownNode(f"the data node {name!r} has just gone")
            if node is None:
                break
            try:
                fields = await self.directory.fields(node, names)
                wanted = {each: fields[each] for each in names if each in fields}
                found = await ask(node, wanted) if wanted else {}
                if is_last or self.is_current(node):
                    return found
            except SisockError as error:
                if is_last or isinstance(error, _EVERYBODYS) or self.is_current(node):
                    raise
            # The node went, and perhaps came, meanwhile: its samples may have changed.
        return {}

    async def _find_node(self, name: str) -> KnownNode | None:
        await self._wait_for_vanished(name.__eq__)
        try:
            return await self.directory.node(name)
        except UnknownNode:
            return None

    async def _wait_for_vanished(self, is_wanted: Callable[[str], bool]) -> None:
        """Wait shortly for nodes that have just gone: they may be back in a new generation."""
        while any(map(is_wanted, self._just_vanished())):
            self.session()
            await task.deferLater(self.reactor, _POLL)

    async def _at_once(
        self, share: Share, jobs: Mapping[str, Coroutine[Any, Any, Any]]
    ) -> dict[str, Any]:
        """Wait for one coroutine a node, none longer than the limit; a failed one is a notice."""
        started = {name: defer.ensureDeferred(job) for name, job in jobs.items()}
        ended: dict[str, Any] = {}
        waiting = []
        for name, job in started.items():
            if not job.called:
                waiting.append(job.addTimeout(self._timeout, self.reactor))
            job.addBoth(partial(ended.__setitem__, name))
        if waiting:
            await defer.DeferredList(waiting)
        for name in jobs:
            if not isinstance(failure := ended[name], Failure):
                continue
            del ended[name]
            if failure.check(*_EVERYBODYS, defer.CancelledError):
                ended.clear()  # the traceback of an error may last, and with it this
                raise failure.value
            share.notices.append(self._why(name, failure.value))
            self._warn(share.notices[-1])
            # Calls that end with the session do so with several errors.
            self.session()
        return ended

    def _why(self, name: str, error: Exception) -> str:
        if isinstance(error, defer.TimeoutError):
            error = NodeTimeout(f"the data node {name!r} did not answer in {self._timeout:g} s")
        if isinstance(error, SisockError):
            return str(error)
        kind, why = type(error).__name__, str(error)
        self._log.error("the answer of {n!r} failed: {kind}: {why}", n=name, kind=kind, why=why)
        return f"the answer of the data node {name!r} cannot be used ({kind})"


def views(data: Data) -> dict[str, View]:
    """Return all that was fetched as views."""
    return {n: View.whole(each.field, Samples(each.t, each.values)) for n, each in data.items()}


async def _nothing(node: KnownNode, fields: dict[str, Field]) -> dict[str, View]:
    """Return views of an interval without length."""
    return {name: View(about, []) for name, about in fields.items()}
