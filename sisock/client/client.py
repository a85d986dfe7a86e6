"""`Client` and `AsyncClient`: find data nodes and ask them, in scripts and Twisted's reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from twisted.internet import defer, threads
from twisted.python.threadable import isInIOThread

from sisock.client.data import Data, Progress
from sisock.client.directory import Directory, KnownNode, gather
from sisock.client.fetch import fetch
from sisock.client.watch import LiveSample, NodeEvent, Stream, Watch, deliver
from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import reactor_thread
from sisock.connection.session import CALL_TIMEOUT, Session
from sisock.connection.settings import Settings, load_settings
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SisockError, UnknownField
from sisock.wire.fields import Field
from sisock.wire.protocol import check_strategy
from sisock.wire.times import Time, to_interval

_T = TypeVar("_T")
_P = ParamSpec("_P")


class AsyncClient:
    """Find data nodes through the hub and ask them; reconnect by itself.

    Its methods are coroutines for Twisted's reactor (``twisted.internet.defer.ensureDeferred``
    makes Deferreds of them). `sisock.Client` is the same for scripts and notebooks.

    The settings are from the environment if not given; `timeout` are the seconds without any
    answer after which a call is given up.
    """

    def __init__(
        self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT, reactor: Any = None
    ) -> None:
        self.settings = load_settings() if settings is None else settings
        self.timeout = timeout
        self._connection = RouterConnection(
            self.settings, self._joined, lambda: self._directory.left(), reactor
        )
        self._directory = Directory(self._connection.reactor, timeout, self._tell_watchers)
        self._is_running = False
        self._ended: BaseException | None = None
        self._waiting: list[defer.Deferred] = []
        self._watches: set[Watch] = set()
        self._subscribing = defer.DeferredLock()
        self._node_watchers: set[Callable[[NodeEvent], None]] = set()
        self._end_watchers: set[Callable[[BaseException], None]] = set()

    async def connect(self) -> Self:
        """Join the router; RouterUnreachable, AuthenticationRejected if that fails at first."""
        if not self._is_running:
            self._is_running = True
            self._connection.on_failure = self._end
            defer.ensureDeferred(self._connection.run()).addBoth(self._end)
        try:
            await self._session()
        except SisockError:
            await self.close()  # or it would go on trying behind its caller's back
            raise
        finally:
            self._connection.on_failure = None
        return self

    async def close(self) -> None:
        """Say goodbye to the router."""
        await self._connection.stop()
        self._end(None)

    def on_end(self, callback: Callable[[BaseException], None]) -> Callable[[], None]:
        """Call back with the reason when the client has ended for good; returns what forgets it."""
        tell = partial(callback)
        self._end_watchers.add(tell)
        if self._ended is not None:
            self._end(None)
        return partial(self._end_watchers.discard, tell)

    async def nodes(self) -> list[KnownNode]:
        """Ask the hub for the data nodes that are there, by name; HubMissing if none answers."""
        await self._session()
        return await self._directory.refresh()

    async def fields(self, node: str, start: Time = 1, end: Time = 0) -> dict[str, Field]:
        """Ask a node for its fields with samples in an interval; the default is all there is."""
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
        found = await self._directory.node(node)
        known = await self._directory.fields(found, names)
        for name in names:
            if name not in known:
                raise UnknownField(
                    f"{node!r} has no field {name!r}: `sisock fields {node}` lists those it has"
                )
        wanted = {name: known[name] for name in names}
        fewer = {"min_stride": min_stride, "bucket": bucket, "max_points": max_points}
        how: dict[str, Any] = {**fewer, "timeout": self.timeout, "on_progress": on_progress}
        return await fetch(await self._session(), found, wanted, interval, **how)

    async def watch(self, node: str, callback: Callable[[LiveSample], None]) -> Callable[[], None]:
        """Call back with each new sample of a node, also after it or the router was away.

        Returns what ends the watching. Raises UnknownNode if there is no such node now, and
        InvalidArgument if it publishes no live samples.
        """
        session = await self._session()
        if "live" not in (await self._directory.node(node)).features:
            raise InvalidArgument(f"{node!r} publishes no live samples: ask for them with `get`")
        watch = Watch(node, callback, self._watches, self._subscribing, self.timeout)
        try:
            await watch.begin(session)
        except BaseException:
            watch.end()
            raise
        return watch.end

    async def watch_nodes(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call back with each node that comes or goes, also while the router was away.

        Where no event tells of it, a node's end is reported within 30 s. Returns what ends the
        watching; raises RouterUnreachable if the router does not answer.
        """
        await self._session()
        with suppress(HubMissing):
            await self._directory.nodes()
        tell = partial(deliver, "nodes", callback)
        self._node_watchers.add(tell)
        return partial(self._node_watchers.discard, tell)

    def _tell_watchers(self, node: KnownNode, is_present: bool) -> None:
        for tell in list(self._node_watchers):
            tell(NodeEvent(node, is_present))

    async def _joined(self, session: Session) -> None:
        begin = [self._directory.joined, *(watch.begin for watch in self._watches)]
        beginning = defer.ensureDeferred(gather(each(session) for each in begin))
        self._tell_waiting()
        await beginning

    def _end(self, reason: Any) -> None:
        """Note why there will be no session any more: an error, its Failure, or None."""
        error = getattr(reason, "value", reason)
        self._ended = error or self._ended or RouterUnreachable("the client is closed")
        self._tell_waiting()
        while self._end_watchers:
            self._end_watchers.pop()(self._ended)

    def _tell_waiting(self) -> None:
        while self._waiting:
            self._waiting.pop(0).callback(None)

    async def _session(self) -> Session:
        """Return the session, or the next one while the router is away."""
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


def _waiting(
    method: Callable[Concatenate[AsyncClient, _P], Awaitable[_T]],
) -> Callable[Concatenate[Client, _P], _T]:
    """Return a method of `Client` that waits for one of its `AsyncClient`."""

    @wraps(method)
    def wait(self: Client, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._wait(lambda: method(self._client, *args, **kwargs))

    return wait


class Client:
    """Find data nodes through the hub and ask them.

    Works in scripts, notebooks and threads, also where an asyncio loop runs already: the
    connection lives in a thread of its own and reconnects by itself. In Twisted's own thread use
    `sisock.AsyncClient`, which has the same parameters and errors.

    Examples
    --------
    >>> with sisock.Client() as client:  # doctest: +SKIP
    ...     data = client.get("sensors", "cpu_percent", start="-10min")
    ...     print(data["cpu_percent"].values.mean(), data["cpu_percent"].units)
    """

    def __init__(self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT) -> None:
        self._reactor = reactor_thread()
        if isInIOThread():
            raise SisockError("in the reactor's own thread use sisock.AsyncClient")
        self._client = AsyncClient(settings, timeout, self._reactor)
        self._wait(self._client.connect)

    def _wait(self, start: Callable[[], Awaitable[_T]]) -> _T:
        return threads.blockingCallFromThread(self._reactor, lambda: defer.ensureDeferred(start()))

    close = _waiting(AsyncClient.close)
    nodes = _waiting(AsyncClient.nodes)
    fields = _waiting(AsyncClient.fields)
    get = _waiting(AsyncClient.get)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def watch(self, node: str) -> Stream[LiveSample]:
        """Iterate over the new samples of a node as they come."""
        return self._stream(lambda hear: self._client.watch(node, hear))

    def watch_nodes(self) -> Stream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        return self._stream(self._client.watch_nodes)

    def _stream(self, watch: Callable[..., Awaitable[Callable[[], None]]]) -> Stream:
        stream: Stream = Stream()

        async def begin() -> list[Callable[[], None]]:
            return [await watch(stream.put), self._client.on_end(stream.put)]

        stream.stops = [partial(self._reactor.callFromThread, stop) for stop in self._wait(begin)]
        return stream
