"""Find data nodes and ask them, in scripts and notebooks: `Client`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet import defer, threads
from twisted.python.threadable import isInIOThread

from sisock.client.async_client import AsyncClient as AsyncClient
from sisock.client.merge import Gap, LiveSample
from sisock.client.stream import NodeEvent, Stream
from sisock.connection.runtime import reactor_thread
from sisock.connection.session import CALL_TIMEOUT
from sisock.connection.settings import Settings
from sisock.errors import SisockError

_T = TypeVar("_T")
_P = ParamSpec("_P")


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
    latest = _waiting(AsyncClient.latest)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def watch(
        self, node: str, fields: str | Iterable[str] | None = None
    ) -> Stream[LiveSample | Gap]:
        """Iterate over the new samples of a node as they come, see `AsyncClient.watch`.

        Take your time: what you do not take stays at the node, as long as that keeps it.
        """
        stream: Stream = Stream(self._reactor)
        names = [fields] if isinstance(fields, str) else fields
        wanted = None if names is None else frozenset(names)
        return self._begin(stream, self._client.follow(node, stream.put, wanted))

    def watch_nodes(self) -> Stream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        stream: Stream = Stream(self._reactor)
        return self._begin(stream, self._client.watch_nodes(stream.put))

    def _begin(self, stream: Stream, watching: Awaitable[Callable[[], None]]) -> Stream:
        async def begin() -> list[Callable[[], None]]:
            return [await watching, self._client.on_end(stream.put)]

        stream.stops = [partial(self._reactor.callFromThread, stop) for stop in self._wait(begin)]
        return stream
