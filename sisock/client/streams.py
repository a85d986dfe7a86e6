"""Iterate, in any thread or in asyncio, over items that a watch in the reactor yields."""

from __future__ import annotations

import queue
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, Self, TypeAlias, TypeVar

from twisted.internet import defer

from sisock.client.merge import Batch
from sisock.client.twisted_client import TwistedClient

MAX_QUEUED = 500  # maximum batches in a stream; while it is full, samples wait at the node
MAX_BATCH = 1000  # maximum samples of a batch

_T = TypeVar("_T")
Watching: TypeAlias = Callable[[Callable[[Any], Any]], Awaitable[Callable[[], None]]]


class Feed:
    """Queue watched items until a stream takes them; only `take` runs outside the reactor's thread.

    `watch` is a coroutine function that begins to call back with each item, and returns a function
    that ends the watch. The feed also ends when its client does.
    """

    def __init__(self, client: TwistedClient, watch: Watching) -> None:
        self._client, self._watch = client, watch
        self._is_begun = False
        self._stops: list[Callable[[], None]] = []
        self._items: deque[Any] = deque()
        self._end: BaseException | None = None
        self._waiting: set[defer.Deferred] = set()
        self._room: defer.Deferred | None = None

    async def begun(self) -> None:
        """Begin to watch; raises the error of the watch, and so does `take` from then on."""
        self._begin()
        while not self._stops and self._end is None:
            await self._woken()
        if self._end is not None and not isinstance(self._end, StopIteration):
            raise self._end

    async def filled(self) -> None:
        """Begin to watch, and wait until there is an item or the end."""
        self._begin()
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)
        while not self._items and self._end is None:
            await self._woken()

    def take(self) -> list[Any]:
        """Return the next samples or event, in any thread; raises IndexError if there is none.

        At the end, each call raises StopIteration or the error that ended the watch.
        """
        end = self._end  # read this first: no item is added after the end
        if end is not None and not self._items:
            raise end
        item = self._items.popleft()
        return item.samples() if isinstance(item, Batch) else [item]

    def close(self) -> None:
        """End the watch, and drop the items that were not taken."""
        self._end = self._end or StopIteration()
        self._items.clear()
        self._wake()
        while self._stops:
            self._stops.pop()()

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            defer.ensureDeferred(self._follow())  # continues even if waiting calls are cancelled

    async def _follow(self) -> None:
        try:
            self._stops = [await self._watch(self._put), self._client.on_end(self._put)]
        except Exception as error:
            self._put(error)
        self._wake()
        if self._end is not None:
            self.close()

    def _put(self, item: Any) -> defer.Deferred | None:
        """Add an item, a batch or the end; if the queue is full, return a Deferred for room."""
        if self._end is not None:
            return None
        if isinstance(item, BaseException):
            self._end = item
        elif isinstance(item, Batch):
            firsts = range(0, len(item), MAX_BATCH)
            self._items.extend(item.take(slice(first, first + MAX_BATCH)) for first in firsts)
        else:
            self._items.append(item)
        self._wake()
        if self._room is None and len(self._items) > MAX_QUEUED:
            self._room = defer.Deferred()
        return self._room

    async def _woken(self) -> None:
        waiter: defer.Deferred = defer.Deferred()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()  # a callback may begin to wait again
        for each in waiting:
            each.callback(None)


class _Taker(Generic[_T]):
    """Take the items of a feed one by one; `wait` runs the feed's coroutines in the reactor.

    The feed is closed when this object is garbage, as after a ``for`` that ends early.
    """

    def __init__(self, reactor: Any, feed: Feed, wait: Callable[..., Any]) -> None:
        self._feed = feed
        self._wait = wait
        self._cut: deque[_T] = deque()
        self._close = weakref.finalize(self, reactor.callFromThread, feed.close)
        self._close.atexit = False

    def _take(self) -> _T:
        if not self._cut:
            self._cut.extend(self._feed.take())
        return self._cut.popleft()


class Stream(_Taker[_T]):
    """An iterator that waits for the next item. Use ``with``, or close it at the end."""

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        return self.next()

    def next(self, timeout: float | None = None) -> _T:
        """Wait for the next item; raises TimeoutError if none comes within `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with suppress(IndexError):
                return self._take()
            left = None if end is None else max(end - time.monotonic(), 0)
            try:
                self._wait(self._feed.filled, timeout=left)
            except queue.Empty:
                raise TimeoutError(f"nothing came for {timeout:g} s") from None

    def close(self) -> None:
        """End the iteration."""
        self._cut.clear()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AsyncStream(_Taker[_T]):
    """An asynchronous iterator over new items. It begins to watch at ``async with`` or first use.

    It ends with the ``async for`` or ``async with``, or by `close`. For a time limit, use
    ``await anext(stream)`` within ``asyncio.timeout``: no item is lost.
    """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        while True:
            with suppress(IndexError):
                try:
                    return self._take()
                except StopIteration:
                    raise StopAsyncIteration from None
            await self._wait(self._feed.filled)

    async def close(self) -> None:
        """End the iteration."""
        self._cut.clear()
        self._close()

    async def __aenter__(self) -> Self:
        await self._wait(self._feed.begun)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
