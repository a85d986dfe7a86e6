"""Find data nodes and ask them, in Twisted's reactor: `TwistedClient`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self

from twisted.internet import defer

from sisock.client.data import Data, Fields, Progress
from sisock.client.fetch import fetch
from sisock.client.latest import fetch_latest
from sisock.client.merge import Batch, Gap, LiveSample
from sisock.client.site import NodeEvent, NodeList, Site, Sites, load_routers
from sisock.client.watch import Watch, deliver
from sisock.connection.session import CALL_TIMEOUT, gather
from sisock.connection.settings import Settings
from sisock.errors import ClientClosed, HubMissing, InvalidArgument, RouterUnreachable
from sisock.wire.fields import KnownNode
from sisock.wire.protocol import check_strategy
from sisock.wire.times import Time, parse_duration, to_interval


class TwistedClient:
    """Find data nodes through the hub and ask them; reconnect by itself.

    Its methods are coroutines for Twisted's reactor (``twisted.internet.defer.ensureDeferred``
    makes Deferreds of them). `sisock.Client` is the same for scripts and notebooks, and
    `sisock.AsyncClient` for asyncio.

    By default the settings come from the environment. If these name several sites, all nodes are
    named ``site/node``, and a call to one site does not depend on the others. A call fails after
    `timeout` seconds without an answer.
    """

    def __init__(
        self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT, reactor: Any = None
    ) -> None:
        self.timeout = timeout
        every = load_routers() if settings is None else [settings]
        tell = self._tell_watchers, self._tell_late_watchers
        self._sites = Sites(Site(each, timeout, reactor, *tell) for each in every)
        self._is_running = False
        self._ended: BaseException | None = None
        # For each: nodes that were absent when it began, but may come back.
        self._node_watchers: dict[Callable[[NodeEvent], None], set[str]] = {}
        self._end_watchers: set[Callable[[BaseException], None]] = set()

    def start(self) -> None:
        """Begin to join the router; calls wait until it is joined, or raise why joining failed."""
        if not self._is_running:
            self._is_running = True
            for site in self._sites.values():
                site.start(self._end)

    async def connect(self) -> Self:
        """Join the router; raises RouterUnreachable or AuthenticationRejected if that fails.

        With several sites, waits for the first that is joined, and raises if none can be.
        """
        self.start()
        joining = [defer.ensureDeferred(site.session()) for site in self._sites.values()]
        try:
            joined = await defer.DeferredList(joining, fireOnOneCallback=True, consumeErrors=True)
        except defer.CancelledError:
            await self.close()
            raise
        if isinstance(joined, list):
            await self.close()  # end the attempts to join
            errors = [failure.value for _, failure in joined]
            raise errors[0] if len(errors) == 1 else RouterUnreachable("; ".join(map(str, errors)))
        return self

    async def close(self) -> None:
        """Leave the router, or the routers of all sites."""
        await gather(site.stop() for site in self._sites.values())
        self._end(ClientClosed())

    def on_end(self, callback: Callable[[BaseException], None]) -> Callable[[], None]:
        """Call back with the reason when the client ends; return a function that cancels this."""
        tell = partial(callback)
        self._end_watchers.add(tell)
        if self._ended is not None:
            self._end(self._ended)
        return partial(self._end_watchers.discard, tell)

    async def nodes(self) -> NodeList:
        """Ask the hub for its data nodes, sorted by name; raises HubMissing if no hub answers.

        Sites that cannot be reached are left out: `NodeList.unreachable` has the reasons. `Client`
        and `AsyncClient` also issue a `SiteWarning` for each.
        """
        return await self._sites.nodes()

    @contextmanager
    def _asking(self, node: str) -> Iterator[Site]:
        """Yield the site of a node, and name the site in errors; raises UnknownNode."""
        site = self._sites.of(node)
        with site.named():
            yield site

    async def fields(self, node: str, start: Time = 1, end: Time = 0) -> Fields:
        """Ask a node for its fields with samples in an interval; by default for all fields."""
        interval = None if (start, end) == (1, 0) else to_interval(start, end)
        with self._asking(node) as site:
            await site.session()
            found = await site.directory.node(node)
            return Fields(await site.directory.ask_fields(found, interval))

    async def get(
        self,
        node: str,
        fields: str | Iterable[str] | None = None,
        start: Time = "-1h",
        end: Time = "now",
        min_stride: float | str | None = None,
        *,
        bucket: float | None = None,
        max_points: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Data:
        """Get samples as numpy arrays.

        Parameters
        ----------
        fields : str or iterable of str, optional
            All fields of the node if None.
        start, end : float, str or datetime
            Half-open interval: UNIX seconds, seconds before now if zero or negative, ``"-1h"``,
            ``"now"``, an ISO text or a datetime. Times without a zone are UTC.
        min_stride : float or str, optional
            Minimum seconds between successive samples, or a duration such as ``"5min"``.
        bucket : float, optional
            Size of buckets in seconds, a power of two: only the smallest and the largest value of
            each bucket are kept. At most 16,384 buckets.
        max_points : int, optional
            Maximum samples of each field, 8 or more: the extremes of buckets, and both ends.
        on_progress : callable, optional
            Called with a `Progress` after each window of a long reply, in the caller's thread. By
            default, `Client` and `AsyncClient` show a progress bar in notebooks.

        Raises
        ------
        UnknownNode, UnknownField, InvalidArgument, NodeFailed, ReplyTooLarge
            See `sisock.errors`; NodeTimeout if nothing comes for `timeout` seconds.
        """
        names = [fields] if isinstance(fields, str) else fields
        names = None if names is None else list(dict.fromkeys(names))
        interval = to_interval(start, end)
        stride = parse_duration(min_stride) if isinstance(min_stride, str) else min_stride
        stride, bucket, max_points = check_strategy(
            stride, bucket, max_points, interval, 1 if names is None else len(names)
        )
        fewer = {"min_stride": stride, "bucket": bucket, "max_points": max_points}
        how: dict[str, Any] = {**fewer, "timeout": self.timeout, "on_progress": on_progress}
        with self._asking(node) as site:
            found, wanted = await site.wanted(node, names)
            return await fetch(await site.session(), found, wanted, interval, **how)

    async def latest(
        self, node: str, fields: str | Iterable[str] | None = None, end: Time = "now"
    ) -> Data:
        """Get the last sample of each field before `end`, as series of one sample or none.

        `fields` defaults to all fields. Raises as `get`.
        """
        before = to_interval(1, end).end
        with self._asking(node) as site:
            found, wanted = await site.wanted(node, fields)
            return await fetch_latest(await site.session(), found, wanted, before, self.timeout)

    async def watch(
        self,
        node: str,
        callback: Callable[[LiveSample | Gap], Any],
        fields: str | Iterable[str] | None = None,
    ) -> Callable[[], None]:
        """Call back with each new sample of a node, once and in order.

        Samples missed while the node, the router or the connection was down come afterwards, or a
        `Gap` if they are lost. With `fields`, samples without any of these fields are left out.
        Returns a function that ends the watch. Raises UnknownNode or UnknownField, and
        InvalidArgument if the node publishes no live samples.
        """
        is_ended = False

        def tell(sample: LiveSample | Gap) -> None:
            if not is_ended:
                deliver(f"the node {node!r}", callback, sample)

        def cut(passed: Batch | Gap) -> defer.Deferred | None:
            each = passed.samples() if isinstance(passed, Batch) else [passed]
            return self._sites.of(node).turns.each(tell, each)

        def end() -> None:
            nonlocal is_ended
            is_ended = True
            unsubscribe()

        unsubscribe = await self.follow(node, cut, fields)
        return end

    async def follow(
        self,
        node: str,
        callback: Callable[[Batch | Gap], defer.Deferred | None],
        fields: str | Iterable[str] | None = None,
    ) -> Callable[[], None]:
        """Call back as `watch` does, but with batches of samples.

        If the callback returns a Deferred, nothing more is passed on until that has fired.
        """
        with self._asking(node) as site:
            await site.session()
            if "live" not in (await site.directory.node(node)).features:
                why = f"{node!r} publishes no live samples: ask for them with `get`"
                raise InvalidArgument(why)
            wanted = None if fields is None else (await site.wanted(node, fields))[1]
            return await self._begin(site, node, callback, wanted)

    async def resume(
        self,
        node: str,
        callback: Callable[[Batch | Gap], defer.Deferred | None],
        fields: Container[str],
        after: Mapping[str, float],
        since: float,
    ) -> Callable[[], None]:
        """Call back as `follow` does, but begin after the last known samples.

        `after` has the time of the last known sample of each timeline; others begin at `since`. A
        node without live samples is asked every few seconds. Node and site may become available
        later.
        """
        with self._asking(node) as site:
            return await self._begin(site, node, callback, fields, after, since)

    async def _begin(self, site: Site, node: str, *about: Any) -> Callable[[], None]:
        session = site.connection.session
        if site is self._sites.only:
            session = await site.session()
        watch = Watch(site, node, *about)
        if session is None:
            return watch.end  # the watch begins when the site is joined
        try:
            await watch.begin(session)
        except BaseException:
            watch.end()
            raise
        return watch.end

    async def watch_nodes(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call back with each node that appears or leaves, even while the router was down.

        Without an event that a node has left, this takes up to 40 s. The nodes of a site that
        cannot be reached appear when it is joined. Returns a function that ends the watch. Raises
        RouterUnreachable if the router does not answer.
        """
        with suppress(HubMissing):
            await self._sites.nodes(is_fresh=False)
        absent: set[str] = set()
        for site in self._sites.values():
            site.directory.tell()
            absent |= site.directory.absent()
        tell = partial(deliver, "nodes", callback)
        self._node_watchers[tell] = absent

        def end() -> None:
            self._node_watchers.pop(tell, None)

        return end

    def _tell_watchers(self, node: KnownNode, is_present: bool) -> None:
        for tell, absent in list(self._node_watchers.items()):
            was_absent = node.name in absent
            absent.discard(node.name)
            # A watcher that never heard of a node need not hear that it has left.
            if is_present or not was_absent:
                tell(NodeEvent(node, is_present))

    def _tell_late_watchers(self, node: KnownNode) -> None:
        """Report a node that is back to the watchers that began while it was absent."""
        for tell, absent in list(self._node_watchers.items()):
            if node.name in absent:
                absent.remove(node.name)
                tell(NodeEvent(node, True))

    def _end(self, reason: BaseException) -> None:
        """Note the reason for the end, and report it to all `on_end` callbacks."""
        self._ended = self._ended or reason
        while self._end_watchers:
            self._end_watchers.pop()(self._ended)
