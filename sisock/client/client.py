"""Find data nodes and ask them, in scripts and notebooks (`Client`) or asyncio (`AsyncClient`)."""

from __future__ import annotations

import asyncio
import queue
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from twisted.internet import defer
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread

from sisock.client.data import Progress
from sisock.client.display import notebook_bar
from sisock.client.merge import Gap, LiveSample
from sisock.client.site import NodeEvent, NodeList
from sisock.client.streams import AsyncStream, Feed, Stream, Watching
from sisock.client.twisted_client import TwistedClient
from sisock.connection.runtime import reactor_thread
from sisock.connection.session import CALL_TIMEOUT
from sisock.connection.settings import Settings
from sisock.errors import SisockError, SiteWarning

_T = TypeVar("_T")
_P = ParamSpec("_P")


def _progress(method: Any, options: dict[str, Any]) -> Callable[[Progress], None] | None:
    """Return a function that shows the progress of `get`; None for other methods."""
    if method is not TwistedClient.get:
        return None
    return options.pop("on_progress", None) or notebook_bar()


def _result(result: Any) -> Any:
    """Return the result of a call, or raise its error; warn about each site missing in a list."""
    if isinstance(result, Failure):
        result.raiseException()
    for why in result.unreachable.values() if isinstance(result, NodeList) else ():
        warnings.warn(why, SiteWarning, stacklevel=4)
    return result


class _ThreadClient:
    """A `TwistedClient` in the reactor's thread, for callers in other threads."""

    def __init__(self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT) -> None:
        self._reactor = reactor_thread()
        if isInIOThread():
            raise SisockError("in the reactor's own thread use sisock.TwistedClient")
        self._client = TwistedClient(settings, timeout, self._reactor)
        self._reactor.callFromThread(self._client.start)

    def _start(
        self, begin: Callable[..., Coroutine], tell: Callable[[Any], Any], show: Any = None
    ) -> Callable[[], None]:
        """Run the coroutine of `begin` in the reactor's thread; return a function that cancels it.

        There `tell` is called with functions that `show` the progress, to be called in the caller's
        thread, and then with the result or Failure.
        """
        # Make the coroutine here, so that wrong arguments raise in the caller's own code.
        telling = {} if show is None else {"on_progress": lambda each: tell(partial(show, each))}
        work = begin(**telling)
        begun: list[defer.Deferred] = []

        def run() -> None:
            begun.append(defer.ensureDeferred(work).addBoth(tell))

        self._reactor.callFromThread(run)
        return lambda: self._reactor.callFromThread(lambda: begun[0].cancel())


def _waiting(
    method: Callable[Concatenate[TwistedClient, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Client, _P], _T]:
    """Return a method of `Client` that waits for a method of its `TwistedClient`."""

    @wraps(method)
    def wait(self: Client, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        show = _progress(method, kwargs)
        return self._wait(partial(method, self._client, *args, **kwargs), show)

    return wait


class Client(_ThreadClient):
    """Find data nodes through the hub and ask them.

    Works in scripts, notebooks and threads, even if an asyncio loop is running: the connection has
    its own thread and reconnects by itself. `sisock.AsyncClient` is the same for asyncio. In
    Twisted's own thread use `sisock.TwistedClient`.

    Examples
    --------
    >>> with sisock.Client() as client:  # doctest: +SKIP
    ...     data = client.get("sensors", "cpu_percent", start="-10min")
    ...     print(data["cpu_percent"].values.mean(), data["cpu_percent"].units)
    """

    def __init__(self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT) -> None:
        super().__init__(settings, timeout)
        self._wait(self._client.connect)

    def _wait(
        self,
        begin: Callable[..., Coroutine[Any, Any, _T]],
        show: Any = None,
        timeout: float | None = None,
    ) -> _T:
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        cancel = self._start(begin, items.put, show)
        try:
            while callable(item := items.get(timeout=timeout)):
                item()
        except BaseException:
            cancel()
            raise
        return _result(item)

    close = _waiting(TwistedClient.close)
    fields = _waiting(TwistedClient.fields)
    get = _waiting(TwistedClient.get)
    latest = _waiting(TwistedClient.latest)
    nodes = _waiting(TwistedClient.nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def watch(
        self, node: str, fields: str | Iterable[str] | None = None
    ) -> Stream[LiveSample | Gap]:
        """Iterate over the new samples of a node, each once and in order, as they come.

        Samples missed while the node, the router or the connection was down come afterwards, or a
        `Gap` if they are lost. If your loop is slow, samples wait at the node, for as long as it
        keeps them. With `fields`, samples without any of these fields are left out. Raises
        UnknownNode or UnknownField, and InvalidArgument if the node publishes no live samples.
        """
        return self._stream(lambda put: self._client.follow(node, put, fields))

    def watch_nodes(self) -> Stream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        return self._stream(self._client.watch_nodes)

    def _stream(self, watch: Watching) -> Stream:
        feed = Feed(self._client, watch)
        stream: Stream = Stream(self._reactor, feed, self._wait)
        self._wait(feed.begun)
        return stream


def _awaiting(
    method: Callable[Concatenate[TwistedClient, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]:
    """Return a method of `AsyncClient` that awaits a method of its `TwistedClient`."""

    @wraps(method)
    async def wait(self: AsyncClient, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        show = _progress(method, kwargs)
        return await self._wait(partial(method, self._client, *args, **kwargs), show)

    wait.__qualname__ = f"AsyncClient.{method.__name__}"  # shown if an await was forgotten
    return wait


class AsyncClient(_ThreadClient):
    """Find data nodes through the hub and ask them, in asyncio.

    Has the methods of `Client` as coroutines; use `watch` and `watch_nodes` in ``async for``.
    ``async with`` waits until the router is joined; otherwise the first call waits. Cancelling a
    call also ends it at the node. Tasks of several event loops can share one client.

    Examples
    --------
    >>> async with sisock.AsyncClient() as client:  # doctest: +SKIP
    ...     data = await client.get("sensors", "cpu_percent", start="-10min")
    ...     async for sample in client.watch("sensors"):
    ...         print(sample.t, sample.values)
    """

    async def _wait(self, begin: Callable[..., Coroutine[Any, Any, _T]], show: Any = None) -> _T:
        # Not a queue of asyncio, which prints an error if its loop is closed during the call.
        loop, items, has_items = asyncio.get_running_loop(), deque[Any](), asyncio.Event()

        def tell(item: Any) -> None:
            items.append(item)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(has_items.set)

        async def next_item() -> Any:
            while not items:
                has_items.clear()
                await has_items.wait()
            return items.popleft()

        cancel = self._start(begin, tell, show)
        try:
            while callable(item := await next_item()):
                item()
        except BaseException:
            cancel()
            raise
        return _result(item)

    close = _awaiting(TwistedClient.close)
    fields = _awaiting(TwistedClient.fields)
    get = _awaiting(TwistedClient.get)
    latest = _awaiting(TwistedClient.latest)
    nodes = _awaiting(TwistedClient.nodes)

    async def __aenter__(self) -> Self:
        await self._wait(self._client.connect)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def watch(
        self, node: str, fields: str | Iterable[str] | None = None
    ) -> AsyncStream[LiveSample | Gap]:
        """Iterate over the new samples of a node as they come, see `Client.watch`."""
        return self._stream(lambda put: self._client.follow(node, put, fields))

    def watch_nodes(self) -> AsyncStream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        return self._stream(self._client.watch_nodes)

    def _stream(self, watch: Watching) -> AsyncStream:
        return AsyncStream(self._reactor, Feed(self._client, watch), self._wait)
