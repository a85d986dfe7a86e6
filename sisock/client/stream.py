"""Hand things over from the reactor to the thread that waits for them."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet import defer

from sisock.client.directory import KnownNode
from sisock.client.merge import Batch
from sisock.connection.runtime import make_logger

MAX_QUEUED = 500
MAX_BATCH = 1000
"""Events that wait in a stream, and samples of one; while there are more, these stay at their
node."""

log = make_logger()

_T = TypeVar("_T")


@dataclass(frozen=True)
class NodeEvent:
    """A data node that came or went."""

    node: KnownNode
    present: bool


class Stream(Generic[_T]):
    """Things as they come: an iterator that waits for the next one. Close it, or use ``with``."""

    def __init__(self, reactor: Any) -> None:
        self.stops: list[Callable[[], Any]] = []
        self._reactor = reactor
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cut: deque[Any] = deque()
        self._room: defer.Deferred | None = None

    def put(self, item: Any) -> defer.Deferred | None:
        """Add a thing, or a batch of samples; if many wait, returns what fires when few do."""
        if isinstance(item, Batch):
            for first in range(0, len(item), MAX_BATCH):
                self._queue.put(item.take(slice(first, first + MAX_BATCH)))
        else:
            self._queue.put(item)
        if self._room is None or self._room.called:
            self._room = defer.Deferred()  # first, as things are taken in another thread
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
        """Wait for the next one, or raise TimeoutError if none came for `timeout` seconds."""
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
                self._queue.put(item)  # whoever asks again hears the same
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


def deliver(what: str, callback: Callable[..., Any], *args: Any) -> Any:
    """Call back; if that raises, the event is lost and the log says so."""
    try:
        return callback(*args)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.error("an event of {what} is lost: {why}", what=what, why=why)
