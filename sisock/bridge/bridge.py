"""What the Grafana bridge knows and asks: nodes, their fields, and samples of many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet import defer, task

from sisock.bridge.answer_memory import AnswerMemory, Overloaded
from sisock.bridge.nodes import KnownNode, NodeList
from sisock.bridge.query import MOST_SAMPLES, SampleRequest, Samples, TooManySamples
from sisock.bridge.sample_cache import SampleCache
from sisock.bridge.samples import samples_of_node
from sisock.bridge.single_flight import SingleFlight
from sisock.client.data import Series
from sisock.client.events import parse_node
from sisock.connection.logs import RepeatedWarning, make_logger
from sisock.connection.reconnect import RouterConnection
from sisock.connection.session import Session
from sisock.connection.settings import Settings
from sisock.connection.wire_errors import translated
from sisock.errors import NodeTimeout, RouterUnreachable, SisockError, UnknownNode
from sisock.wire.fields import Field, parse_fields
from sisock.wire.protocol import Interval, node_uri, uri

HUB_RETRY = 2.0

_POLL = 0.05


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
    most_samples : int
        More make a request fail.
    """

    def __init__(
        self,
        settings: Settings,
        node_timeout: float,
        cache_bytes: int,
        most_samples: int = MOST_SAMPLES,
        reactor: Any = None,
    ) -> None:
        self.connection = RouterConnection(settings, self._joined, self._left, reactor)
        self.node_timeout = node_timeout
        self.cache = SampleCache(cache_bytes)
        self.memory = AnswerMemory()
        self.node_list = NodeList(self.cache)
        self._most_samples = most_samples
        self._flights = SingleFlight()
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)

    async def _joined(self, session: Session) -> None:
        await session.subscribe(self._node_added, uri("consumer.data_node_added"))
        await session.subscribe(self._node_subtracted, uri("consumer.data_node_subtracted"))
        # A request may have listed the nodes before: what changed since then went unnoticed.
        self.node_list.clear()
        while True:
            try:
                await self.refresh_nodes()
                return
            except SisockError as error:
                self._log.info("{why}; trying again", why=str(error))
            await task.deferLater(self.connection.reactor, HUB_RETRY)

    def _left(self) -> None:
        self.node_list.lose()

    def _node_added(self, entry: Any, *_: Any, **__: Any) -> None:
        self.node_list.add(parse_node(entry))

    def _node_subtracted(self, entry: Any, *_: Any, **__: Any) -> None:
        self.node_list.remove(parse_node(entry).name)

    @property
    def nodes(self) -> dict[str, KnownNode]:
        """The nodes by name, as the hub last said."""
        return self.node_list.known

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
        await self._flights.join("nodes", self._list_nodes)

    async def _list_nodes(self) -> None:
        session = self.session()
        with translated(None):
            listed = await session.request(uri("consumer.get_data_node"), timeout=self.node_timeout)
        self.node_list.replace(map(parse_node, listed))

    async def catalogue(self) -> tuple[list[tuple[str, Field]], list[str]]:
        """Every field of every node, by name; and a notice for each that did not answer."""
        await self.refresh_nodes()
        answers, notices = await self.fields_of(lambda name: True)
        return [
            (name, field) for name, fields in answers.items() for field in fields.values()
        ], notices

    async def fields_of(
        self, is_wanted: Callable[[str], bool]
    ) -> tuple[dict[str, dict[str, Field]], list[str]]:
        """Fields of every wanted node, by name; and a notice for each that did not answer."""
        wanted = [self.nodes[name] for name in sorted(self.nodes) if is_wanted(name)]
        jobs = [(each.node.name, self._fields_of(each)) for each in wanted if each.is_stale]
        fresh, notices = await self._at_once(jobs) if jobs else ({}, [])
        # A node that does not answer now still has the fields that it had.
        known = {each.node.name: fresh.get(each.node.name, each.fields) for each in wanted}
        return {name: fields for name, fields in known.items() if fields is not None}, notices

    async def samples(
        self,
        wanted: Iterable[tuple[str, str]],
        interval: Interval,
        min_stride: float | None,
        max_points: int | None = None,
    ) -> Samples:
        """Ask all nodes at the same time, each for all of its fields.

        Parameters
        ----------
        wanted : iterable of (str, str)
            Node and field. What does not exist has no series in the result.
        interval : Interval
            UNIX seconds.
        min_stride : float or None
            Seconds between successive samples, at least.
        max_points : int, optional
            Samples of each series, at most, chosen to keep the picture; then without `min_stride`.

        Raises
        ------
        RouterUnreachable, HubMissing
            If nobody can be asked.
        TooManySamples
            If more come, or are found, than one answer may have.
        """
        request = SampleRequest(interval, min_stride, max_points)
        by_node: dict[str, list[str]] = {}
        for node, name in wanted:
            by_node.setdefault(node, []).append(name)
        if not by_node.keys() <= self.nodes.keys():
            await self.refresh_nodes()
        self.session()
        found = Samples(self.memory.share(), self._most_samples)
        answers, notices = await self._at_once(
            [
                (node, self._node_samples(node, sorted(set(names)), request, found))
                for node, names in by_node.items()
            ]
        )
        found.notices += notices
        for node, series in answers.items():
            found.series.update({(node, name): each for name, each in series.items()})
        found.check_size(sum(map(len, found.series.values())))
        return found

    async def _at_once(self, jobs: list[tuple[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        """Wait for one coroutine a node, none longer than the limit; a failed one is a notice."""
        reactor, limit = self.connection.reactor, self.node_timeout
        started = [(name, defer.ensureDeferred(job)) for name, job in jobs]
        for _, job in started:
            if not job.called:
                job.addTimeout(limit, reactor)
        answers: dict[str, Any] = {}
        notices = []
        lost: SisockError | None = None
        for name, answer in started:
            try:
                answers[name] = await answer
            except defer.CancelledError:
                # Who asked has left.
                for _, other in started:
                    other.cancel()
                raise
            except (RouterUnreachable, TooManySamples, Overloaded) as error:
                # That is no empty series of one node. The others end just so.
                lost = error
            except Exception as error:
                notices.append(self._why(name, error))
                self._warn(notices[-1])
        if lost is not None:
            # Its traceback may last, and with it this.
            answers.clear()
            raise lost
        if notices:
            # Calls that end with the session do so with several errors.
            self.session()
        return answers, notices

    def _why(self, name: str, error: Exception) -> str:
        if isinstance(error, defer.TimeoutError):
            error = NodeTimeout(f"the data node {name!r} did not answer in {self.node_timeout:g} s")
        if isinstance(error, SisockError):
            return str(error)
        self._log.error(
            "the answer of {name!r} failed: {kind}: {why}",
            name=name,
            kind=type(error).__name__,
            why=str(error),
        )
        return f"the answer of the data node {name!r} cannot be used ({type(error).__name__})"

    async def _fields_of(self, known: KnownNode) -> dict[str, Field]:
        if known.is_stale:
            await self._flights.join(known.key, lambda: self._look_up_fields(known))
        assert known.fields is not None
        return known.fields

    async def _look_up_fields(self, known: KnownNode) -> None:
        known.looked_up = time.monotonic()
        name = known.node.name
        with translated(name):
            raw = await self.session().request(
                node_uri(name, "get_fields"), 1, 0, timeout=self.node_timeout
            )
        known.fields = parse_fields(raw, name)

    async def _node_samples(
        self, node: str, names: list[str], request: SampleRequest, found: Samples
    ) -> Mapping[str, Series]:
        known = await self._find_node(node)
        if known is None:
            return {}
        try:
            series = await self._ask_node(known, names, request, found)
            if self.nodes.get(node) is known:
                return series
        except (RouterUnreachable, TooManySamples, Overloaded):
            raise
        except SisockError:
            if self.nodes.get(node) is known:
                raise
        # The node went, and perhaps came, meanwhile: what was kept of it may be wrong.
        known = await self._find_node(node)
        if known is None:
            raise UnknownNode(f"the data node {node!r} has just gone")
        return await self._ask_node(known, names, request, found)

    async def _find_node(self, name: str) -> KnownNode | None:
        """Look a node up, and wait shortly for one that has just gone: it may come anew."""
        while name not in self.nodes and self.node_list.just_vanished(name):
            self.session()
            await task.deferLater(self.connection.reactor, _POLL)
        return self.nodes.get(name)

    async def _ask_node(
        self, known: KnownNode, names: list[str], request: SampleRequest, found: Samples
    ) -> Mapping[str, Series]:
        fields = known.fields or {}
        if any(name not in fields for name in names):
            fields = await self._fields_of(known)
        wanted = {name: fields[name] for name in names if name in fields}
        if not wanted:
            return {}
        session, cache = self.session(), self.cache
        series = await samples_of_node(
            session, known, wanted, request, cache, self.node_timeout, found
        )
        if self.nodes.get(known.node.name) is not known:
            cache.drop_all(lambda key: key[:2] == known.key)
        return series
