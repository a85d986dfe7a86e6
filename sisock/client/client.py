"""Find data nodes and ask them, in scripts and notebooks: `Client`, and its `Stream`."""

from __future__ import annotations

import queue
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from twisted.internet import defer, threads
from twisted.python.threadable import isInIOThread

from sisock.client.async_client import AsyncClient as AsyncClient
from sisock.client.merge import Batch, Gap, LiveSample
from sisock.client.site import NodeEvent, NodeList
from sisock.connection.runtime import reactor_thread
from sisock.connection.session import CALL_TIMEOUT
from sisock.connection.settings import Settings
from sisock.errors import SisockError, SiteWarning

MAX_QUEUED = 500  # batches that wait in a stream; while it is full, samples stay at the node
MAX_BATCH = 1000  # samples of a batch

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Stream(Generic[_T]):
    """An iterator that waits for the next item. Close it, or use ``with``."""

    def __init__(self, reactor: Any) -> None:
        self.stops: list[Callable[[], Any]] = []
        self._reactor = reactor
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cut: deque[Any] = deque()
        self._room: defer.Deferred | None = None

    def put(self, item: Any) -> defer.Deferred | None:
        """Add an item or a batch of samples; if many wait, return a Deferred that fires later."""
        if isinstance(item, Batch):
            for first in range(0, len(item), MAX_BATCH):
                self._queue.put(item.take(slice(first, first + MAX_BATCH)))
        else:
            self._queue.put(item)
        if self._room is None or self._room.called:
            self._room = defer.Deferred()  # set first, as another thread takes items
            if self._queue.qsize() <= MAX_QUEUED:
                self._room = None
        return self._room

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.called:
            room.callback(None)

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        return self.next()

    def next(self, timeout: float | None = None) -> _T:
        """Wait for the next item; raises TimeoutError if none comes for `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with suppress(IndexError):
                return self._cut.popleft()
            if self._room is not None and self._queue.qsize() < MAX_QUEUED / 2:
                self._reactor.callFromThread(self._make_room)
            try:
                item = self._queue.get(timeout=end and max(end - time.monotonic(), 0))
            except queue.Empty:
                raise TimeoutError(f"nothing came for {timeout:g} s") from None
            if isinstance(item, BaseException):
                self._queue.put(item)  # the next call raises the same
                raise item
            self._cut.extend(item.samples() if isinstance(item, Batch) else [item])

    def close(self) -> None:
        """End the iteration."""
        for stop in self.stops:
            stop()
        self._queue.put(StopIteration())

    def __enter__(self) -> Stream[_T]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


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
    fields = _waiting(AsyncClient.fields)
    get = _waiting(AsyncClient.get)
    latest = _waiting(AsyncClient.latest)

    def nodes(self) -> NodeList:
        """Ask the hub for its list of data nodes, see `AsyncClient.nodes`.

        Each site that is left out is a `SiteWarning`.
        """
        found = self._wait(self._client.nodes)
        for why in found.unreachable.values():
            warnings.warn(why, SiteWarning, stacklevel=2)
        return found

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def watch(
        self, node: str, fields: str | Iterable[str] | None = None
    ) -> Stream[LiveSample | Gap]:
        """Iterate over the new samples of a node as they come, see `AsyncClient.watch`.

        If you are slow, samples stay at the node for as long as it keeps them.
        """
        stream: Stream = Stream(self._reactor)
        return self._begin(stream, self._client.follow(node, stream.put, fields))

    def watch_nodes(self) -> Stream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        stream: Stream = Stream(self._reactor)
        return self._begin(stream, self._client.watch_nodes(stream.put))

    def _begin(self, stream: Stream, watching: Awaitable[Callable[[], None]]) -> Stream:
        async def begin() -> list[Callable[[], None]]:
            return [await watching, self._client.on_end(stream.put)]

        stream.stops = [partial(self._reactor.callFromThread, stop) for stop in self._wait(begin)]
        return stream
