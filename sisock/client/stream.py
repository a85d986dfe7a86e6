"""Hand things over from the reactor to the thread that waits for them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet import defer

from sisock.client.directory import KnownNode
from sisock.client.merge import Batch, Gap
from sisock.connection.runtime import make_logger

MAX_QUEUED = 10_000
"""Things that wait in a stream; while there are more, samples stay at their node."""

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
        self._queue: queue.SimpleQueue[_T | BaseException] = queue.SimpleQueue()
        self._room: defer.Deferred | None = None

    def put(self, *items: Any) -> defer.Deferred | None:
        """Add things; returns None, or if there are many, what fires when most were taken."""
        for item in items:
            self._queue.put(item)
        if self._room is None or self._room.called:
            self._room = defer.Deferred()  # first, as things are taken in another thread
            if self._queue.qsize() <= MAX_QUEUED:
                self._room = None
        return self._room

    def put_samples(self, passed: Batch | Gap) -> defer.Deferred | None:
        """Add samples one by one, or a gap; see `put`."""
        return self.put(*(passed.samples() if isinstance(passed, Batch) else [passed]))

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
        if self._room is not None and self._queue.qsize() < MAX_QUEUED / 2:
            self._reactor.callFromThread(self._make_room)
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing came for {timeout:g} s") from None
        if isinstance(item, BaseException):
            self._queue.put(item)  # whoever asks again hears the same
            raise item
        return item

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
