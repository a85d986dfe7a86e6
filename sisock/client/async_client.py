"""Find data nodes and ask them, in Twisted's reactor: `AsyncClient`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Self

from twisted.internet import defer

from sisock.client.data import Data, Progress
from sisock.client.directory import Directory, KnownNode, NodeEvent
from sisock.client.fetch import fetch
from sisock.client.latest import fetch_latest
from sisock.client.merge import Batch, Gap, LiveSample
from sisock.client.missed import Source
from sisock.client.watch import Watch, Watches, deliver
from sisock.connection.reconnect import RouterConnection
from sisock.connection.session import CALL_TIMEOUT, Session, gather
from sisock.connection.settings import Settings, load_settings
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SisockError, UnknownField
from sisock.wire.fields import Field
from sisock.wire.protocol import check_strategy
from sisock.wire.times import Time, to_interval


class AsyncClient:
    """Find data nodes through the hub and ask them; reconnect by itself.

    Its methods are coroutines for Twisted's reactor (``twisted.internet.defer.ensureDeferred``
    makes Deferreds of them). `sisock.Client` is the same for scripts and notebooks.

    Without `settings`, those of the environment are used. A call is given up after `timeout`
    seconds without any answer.
    """

    def __init__(
        self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT, reactor: Any = None
    ) -> None:
        self.settings = load_settings() if settings is None else settings
        self.timeout = timeout
        self._connection = RouterConnection(
            self.settings, self._joined, lambda: self._directory.left(), reactor
        )
        reactor = self._connection.reactor
        self._directory = Directory(
            reactor,
            timeout,
            self._tell_watchers,
            lambda node: self._watches.lose(node),
            self._tell_late_watchers,
        )
        self._watches = Watches(
            lambda: Source(self._session, self._directory, timeout), timeout, reactor
        )
        self._is_running = False
        self._ended: BaseException | None = None
        self._waiting: list[defer.Deferred] = []
        # With the nodes that the list lacked when each began, as they had yet to come back.
        self._node_watchers: dict[Callable[[NodeEvent], None], set[str]] = {}
        self._end_watchers: set[Callable[[BaseException], None]] = set()

    async def connect(self) -> Self:
        """Join the router; raises RouterUnreachable or AuthenticationRejected if that fails."""
        if not self._is_running:
            self._is_running = True
            self._connection.on_failure = self._end
            defer.ensureDeferred(self._connection.run()).addBoth(self._end)
        try:
            await self._session()
        except SisockError:
            await self.close()  # otherwise it would go on trying
            raise
        finally:
            self._connection.on_failure = None
        return self

    async def close(self) -> None:
        """Leave the router."""
        await self._connection.stop()
        self._end(None)

    def on_end(self, callback: Callable[[BaseException], None]) -> Callable[[], None]:
        """Call back with the reason when the client ends for good; return what cancels this."""
        tell = partial(callback)
        self._end_watchers.add(tell)
        if self._ended is not None:
            self._end(None)
        return partial(self._end_watchers.discard, tell)

    async def nodes(self) -> list[KnownNode]:
        """Ask the hub for its list of data nodes, by name; raises HubMissing if none answers."""
        await self._session()
        return await self._directory.refresh()

    async def fields(self, node: str, start: Time = 1, end: Time = 0) -> dict[str, Field]:
        """Ask a node for its fields with samples in an interval, by default for all."""
        interval = None if (start, end) == (1, 0) else to_interval(start, end)
        await self._session()
        return await self._directory.ask_fields(await self._directory.node(node), interval)

    async def get(
        self,
        node: str,
        fields: str | Iterable[str],
        start: Time = "-1h",
        end: Time = "now",
        min_stride: float | None = None,
        *,
        bucket: float | None = None,
        max_points: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Data:
        """Get samples as numpy arrays.

        Parameters
        ----------
        start, end : float, str or datetime
            Half-open interval, see `sisock.wire.times.to_sisock_time`.
        min_stride : float, optional
            Seconds between successive samples, at least.
        bucket : float, optional
            Seconds, a power of two: of each bucket of this size only the smallest and the largest
            value are kept. At most 16,384 buckets.
        max_points : int, optional
            Samples of each field, at most: the extremes of buckets, and both ends. At least 8.
        on_progress : callable, optional
            Called with a `Progress` after each window of a long reply, in the reactor's thread.

        Raises
        ------
        UnknownNode, UnknownField, InvalidArgument, NodeFailed, ReplyTooLarge
            See `sisock.errors`; NodeTimeout if nothing comes for `timeout` seconds.
        """
        names = [fields] if isinstance(fields, str) else list(dict.fromkeys(fields))
        interval = to_interval(start, end)
        stride = None if min_stride is None else float(min_stride)
        min_stride, bucket, max_points = check_strategy(
            stride, bucket, max_points, interval, len(names)
        )
        await self._session()
        found, wanted = await self._wanted(node, names)
        fewer = {"min_stride": min_stride, "bucket": bucket, "max_points": max_points}
        how: dict[str, Any] = {**fewer, "timeout": self.timeout, "on_progress": on_progress}
        return await fetch(await self._session(), found, wanted, interval, **how)

    async def latest(
        self, node: str, fields: str | Iterable[str] | None = None, end: Time = "now"
    ) -> Data:
        """Get the last sample of each field before `end`, as series of one sample or none.

        Without `fields`, of all fields. Raises as `get`.
        """
        before = to_interval(1, end).end
        await self._session()
        found, wanted = await self._wanted(node, fields)
        return await fetch_latest(await self._session(), found, wanted, before, self.timeout)

    async def watch(
        self,
        node: str,
        callback: Callable[[LiveSample | Gap], Any],
        fields: str | Iterable[str] | None = None,
    ) -> Callable[[], None]:
        """Call back with each new sample of a node, once and in order.

        Samples that were missed while the node, the router or the connection was away come
        afterwards, or a `Gap` if they are lost. With `fields`, samples without any of these are
        left out. Returns a function that ends the watch. Raises UnknownNode or UnknownField, and
        InvalidArgument if the node publishes no live samples.
        """
        is_ended = False

        def cut(passed: Batch | Gap) -> None:
            for each in passed.samples() if isinstance(passed, Batch) else [passed]:
                if not is_ended:
                    deliver(f"the node {node!r}", callback, each)

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
        """Do as `watch`, but with batches of samples.

        If the callback returns a Deferred, nothing more is passed on before that has fired.
        """
        await self._session()
        if "live" not in (await self._directory.node(node)).features:
            raise InvalidArgument(f"{node!r} publishes no live samples: ask for them with `get`")
        wanted = None if fields is None else (await self._wanted(node, fields))[1]
        return await self._begin(node, callback, wanted)

    async def resume(
        self,
        node: str,
        callback: Callable[[Batch | Gap], defer.Deferred | None],
        fields: Container[str],
        after: Mapping[str, float],
        since: float,
    ) -> Callable[[], None]:
        """Do as `follow`, but begin after the last known samples; the node may come later.

        `after` has the time of the last known sample of each timeline; others begin at `since`. A
        node without live samples is asked every few seconds.
        """
        return await self._begin(node, callback, fields, after, since)

    async def _begin(self, *about: Any) -> Callable[[], None]:
        session = await self._session()
        watch = Watch(self._watches, *about)
        try:
            await watch.begin(session)
        except BaseException:
            watch.end()
            raise
        return watch.end

    async def watch_nodes(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call back with each node that comes or goes, also while the router was away.

        If no event tells that a node has ended, this takes up to 40 s. Returns a function that ends
        the watch. Raises RouterUnreachable if the router does not answer.
        """
        await self._session()
        with suppress(HubMissing):
            await self._directory.nodes()
        tell = partial(deliver, "nodes", callback)
        self._node_watchers[tell] = self._directory.absent()
        return partial(self._forget_watcher, tell)

    def _forget_watcher(self, tell: Callable[[NodeEvent], None]) -> None:
        self._node_watchers.pop(tell, None)

    async def _wanted(
        self, node: str, names: str | Iterable[str] | None
    ) -> tuple[KnownNode, dict[str, Field]]:
        """Return a node and its fields, or those of some names; raises UnknownField."""
        found = await self._directory.node(node)
        if names is not None:
            names = [names] if isinstance(names, str) else list(names)
        known = await self._directory.fields(found, names)
        for name in known if names is None else names:
            if name not in known:
                raise UnknownField(
                    f"{node!r} has no field {name!r}: `sisock fields {node}` lists those it has"
                )
        return found, known if names is None else {name: known[name] for name in names}

    def _tell_watchers(self, node: KnownNode, is_present: bool) -> None:
        for tell in list(self._node_watchers):
            tell(NodeEvent(node, is_present))

    def _tell_late_watchers(self, node: KnownNode) -> None:
        """Tell those of a node that comes back who began when it was away."""
        for tell, absent in list(self._node_watchers.items()):
            if node.name in absent:
                absent.remove(node.name)
                tell(NodeEvent(node, True))

    async def _joined(self, session: Session) -> None:
        begin = [self._directory.joined, *(watch.begin for watch in self._watches)]
        beginning = defer.ensureDeferred(gather(each(session) for each in begin))
        self._tell_waiting()
        await beginning

    def _end(self, reason: Any) -> None:
        """End for good; the reason is an error, its Failure, or None."""
        error = getattr(reason, "value", reason)
        self._ended = error or self._ended or RouterUnreachable("the client is closed")
        self._tell_waiting()
        while self._end_watchers:
            self._end_watchers.pop()(self._ended)

    def _tell_waiting(self) -> None:
        while self._waiting:
            self._waiting.pop(0).callback(None)

    async def _session(self) -> Session:
        """Return the session, or wait for the next one."""
        while self._ended is None:
            if self._connection.session is not None:
                return self._connection.session
            joined: defer.Deferred = defer.Deferred()
            self._waiting.append(joined)
            try:
                await joined.addTimeout(self.timeout, self._connection.reactor)
            except defer.TimeoutError:
                self._waiting.remove(joined)
                raise self._connection.last_error or RouterUnreachable(
                    f"the router at {self.settings.address} does not answer"
                ) from None
        raise self._ended
