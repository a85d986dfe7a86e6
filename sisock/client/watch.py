"""Watch live samples on one session after the other."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet import defer

from sisock.client.directory import KnownNode, subscribed
from sisock.connection.runtime import make_logger
from sisock.connection.session import Session
from sisock.wire.arrays import to_list
from sisock.wire.protocol import node_uri
from sisock.wire.reply import decode

log = make_logger()

_T = TypeVar("_T")


@dataclass(frozen=True)
class LiveSample:
    """One new sample of a node: time in UNIX seconds, timeline, and field to value or None."""

    t: float
    timeline: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class NodeEvent:
    """A data node that came or went."""

    node: KnownNode
    present: bool


class Stream(Generic[_T]):
    """Things as they come: an iterator that waits for the next one. Close it, or use ``with``."""

    def __init__(self) -> None:
        self.stops: list[Callable[[], Any]] = []
        self._queue: queue.SimpleQueue[_T | BaseException] = queue.SimpleQueue()
        self.put = self._queue.put

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        return self.next()

    def next(self, timeout: float | None = None) -> _T:
        """Wait for the next one, or raise TimeoutError if none came for `timeout` seconds."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing came for {timeout:g} s") from None
        if isinstance(item, BaseException):
            self.put(item)  # whoever asks again hears the same
            raise item
        return item

    def close(self) -> None:
        """End the iteration."""
        for stop in self.stops:
            stop()
        self.put(StopIteration())

    def __enter__(self) -> Stream[_T]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def deliver(what: str, callback: Callable[..., Any], *args: Any) -> None:
    """Call back; if that raises, the event is lost and the log says so."""
    try:
        callback(*args)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.error("an event of {what} is lost: {why}", what=what, why=why)


@dataclass(eq=False)
class Watch:
    """Call back with the live samples of a node, on one session after the other.

    `watches` are those of the client that have not ended; `timeout` is the router's, in seconds.
    `lock` is for all: autobahn mixes up a subscription that begins with one that ends.
    """

    node: str
    callback: Callable[[LiveSample], None]
    watches: set[Watch]
    lock: defer.DeferredLock
    timeout: float
    _subscription: Any = None

    def __post_init__(self) -> None:
        self.watches.add(self)

    async def begin(self, session: Session) -> None:
        """Subscribe on a session; raises as `subscribed`."""
        self._subscription = None
        begun = self.lock.run(session.subscribe, self._hear, node_uri(self.node, "data"))
        self._subscription = await subscribed(begun, self.timeout, session.reactor)
        if self not in self.watches:
            self.end()

    def end(self) -> None:
        """Unsubscribe."""
        self.watches.discard(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self.lock.run(subscription.unsubscribe).addErrback(lambda _: None)

    def _hear(self, *args: Any, **_: Any) -> None:
        if self in self.watches:
            deliver(f"the node {self.node!r}", self._tell, *args[:1])

    def _tell(self, event: Any) -> None:
        for sample in live_samples(event, self.node):
            self.callback(sample)


def live_samples(event: Any, node: str) -> list[LiveSample]:
    """Cut a live event, which has a reply's shape, into samples in time order."""
    reply = decode(event, node)
    samples = []
    for line, timeline in reply.timelines.items():
        # A field of this timeline has as many values as it has times.
        own = {name: to_list(v) for name, v in reply.data.items() if len(v) == len(timeline.t)}
        for i, t in enumerate(timeline.t.tolist()):
            samples.append(LiveSample(t, line, {name: own[name][i] for name in own}))
    return sorted(samples, key=lambda sample: sample.t)
