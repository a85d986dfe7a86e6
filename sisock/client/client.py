"""`Client`: find data nodes and ask them, from scripts and notebooks."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from twisted.internet import defer, threads
from twisted.python.threadable import isInIOThread

from sisock.client.async_client import AsyncClient
from sisock.client.data import Data
from sisock.client.events import LiveSample, Node, NodeEvent
from sisock.client.progress import Progress
from sisock.connection.session import CALL_TIMEOUT
from sisock.connection.settings import Settings
from sisock.errors import SisockError
from sisock.wire.fields import Field
from sisock.wire.times import Time

__all__ = ["AsyncClient", "Client", "LiveSample", "Node", "NodeEvent", "Progress", "Stream"]

_T = TypeVar("_T")


class _ReactorThread:
    """The process's reactor in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def reactor(self) -> Any:
        from twisted.internet import reactor

        with self._lock:
            if not reactor.running and self._thread is None:
                started = threading.Event()
                reactor.callWhenRunning(started.set)
                self._thread = threading.Thread(
                    target=reactor.run,
                    kwargs={"installSignalHandlers": False},
                    name="sisock-reactor",
                    daemon=True,
                )
                self._thread.start()
                started.wait()
                atexit.register(self._stop)
        return reactor

    def _stop(self) -> None:
        from twisted.internet import reactor

        if self._thread is not None and self._thread.is_alive():
            reactor.callFromThread(reactor.stop)
            self._thread.join(3)


_REACTOR_THREAD = _ReactorThread()


def reactor_thread() -> Any:
    """Twisted's reactor, running: in a thread of its own if nobody else runs it."""
    return _REACTOR_THREAD.reactor()


class Stream(Generic[_T]):
    """Things as they come: an iterator that waits for the next one. Close it, or use ``with``."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_T | _End] = queue.SimpleQueue()
        self._stop: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        return self._take(None)

    def next(self, timeout: float) -> _T:
        """Wait for the next one, but no longer than `timeout` seconds.

        Raises
        ------
        TimeoutError
            If none came.
        """
        try:
            return self._take(timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing came for {timeout:g} s") from None

    def _take(self, timeout: float | None) -> _T:
        item = self._queue.get(timeout=timeout)
        if not isinstance(item, _End):
            return item
        self._queue.put(item)  # whoever asks again hears the same
        if item.reason is None:
            raise StopIteration
        raise item.reason

    def close(self) -> None:
        """End the iteration."""
        self._stop()
        self._queue.put(_End(None))

    def __enter__(self) -> Stream[_T]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _End:
    """The end of a stream: closed, or the reason why nothing can come any more."""

    def __init__(self, reason: BaseException | None) -> None:
        self.reason = reason


class Client:
    """Finds data nodes through the hub and asks them.

    Works in scripts, notebooks and threads, also where an asyncio loop runs already: the
    connection lives in a thread of its own and reconnects by itself. In Twisted's own thread use
    `sisock.AsyncClient`.

    Parameters
    ----------
    settings : Settings, optional
        From the environment if not given.
    timeout : float
        Seconds without any answer after which a call is given up.

    Raises
    ------
    RouterUnreachable, AuthenticationRejected
        If the router cannot be joined.

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

    def _wait(self, coroutine: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any) -> _T:
        return threads.blockingCallFromThread(
            self._reactor, lambda: defer.ensureDeferred(coroutine(*args, **kwargs))
        )

    def close(self) -> None:
        """Say goodbye to the router."""
        self._wait(self._client.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def nodes(self) -> list[Node]:
        """List the data nodes that are there, by name."""
        return self._wait(self._client.nodes)

    def fields(self, node: str, start: Time = 1, end: Time = 0) -> dict[str, Field]:
        """List the fields of a node; see `AsyncClient.fields`."""
        return self._wait(self._client.fields, node, start, end)

    def get(
        self,
        node: str,
        fields: str | Iterable[str],
        start: Time = "-1h",
        end: Time = "now",
        min_stride: float | None = None,
        *,
        max_points: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Data:
        """Get samples as numpy arrays; see `AsyncClient.get` for arguments and errors."""
        return self._wait(
            self._client.get,
            node,
            fields,
            start,
            end,
            min_stride,
            max_points=max_points,
            on_progress=on_progress,
        )

    def watch(self, node: str) -> Stream[LiveSample]:
        """Iterate over the new samples of a node as they come."""
        return self._stream(self._client.watch, node)

    def watch_nodes(self) -> Stream[NodeEvent]:
        """Iterate over the nodes that come and go."""
        return self._stream(self._client.watch_nodes)

    def _stream(self, watch: Callable[..., Awaitable[Callable[[], None]]], *args: Any) -> Stream:
        stream: Stream = Stream()

        async def begin() -> Callable[[], None]:
            stop = await watch(*args, stream._queue.put)
            forget = self._client.on_end(lambda reason: stream._queue.put(_End(reason)))

            def end() -> None:
                stop()
                forget()

            return end

        end = self._wait(begin)
        stream._stop = lambda: self._reactor.callFromThread(end)
        return stream
