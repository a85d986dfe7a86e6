"""Fetch samples from a data node, using the features that it announces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from twisted.internet import defer

from sisock.client.data import Assembly, Data, Progress
from sisock.connection.session import Session, gather, repeat_once, translated
from sisock.errors import NodeContractError, ReplyTooLarge
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import WINDOW_DEFAULT, WINDOW_MAX, Interval
from sisock.wire.reply import Reply, decode

MAX_CALLS = 4  # simultaneous calls to a node that is asked for each field separately
MAX_SAMPLES = (50_000, 10_000, 2_000)  # per field, if a node cannot decimate: tried in this order
ENLARGE_WITHIN = 2.0  # seconds in which the next window should arrive, at the speed of the last


async def fetch(
    session: Session,
    node: KnownNode,
    fields: Mapping[str, Field],
    interval: Interval,
    *,
    min_stride: float | None = None,
    bucket: float | None = None,
    max_points: int | None = None,
    latest: bool = False,
    timeout: float,
    on_progress: Callable[[Progress], None] | None = None,
    on_chunk: Callable[[Reply], defer.Deferred | None] | None = None,
) -> Data:
    """Fetch samples, and decimate them here if the node cannot.

    Raises ReplyTooLarge, UnknownNode, NodeTimeout, NodeFailed, NodeContractError, InvalidArgument
    or RouterUnreachable.

    Parameters
    ----------
    interval : Interval
        UNIX seconds; samples outside are left out.
    min_stride, bucket, max_points
        Ways to get fewer samples; give at most one.
    latest : bool
        Whether to get only the last samples, from a node with this feature.
    timeout : float
        Seconds to wait for each chunk of the reply.
    on_progress : callable, optional
        Called after each window of a long reply.
    on_chunk : callable, optional
        Called with each chunk in time order, before the request keeps it: what this removes from
        the chunk takes no memory. If it raises an error, the request ends. If it returns a
        Deferred, the next window is requested when that has fired.
    """
    given = {"bucket": bucket, "max_points": max_points, "latest": latest or None}
    ways = {name: way for name, way in given.items() if way is not None}
    is_able = node.features >= ways.keys()
    has_passed = False

    def hear(chunk: Reply) -> defer.Deferred | None:
        nonlocal has_passed
        if on_chunk is None:
            return None
        has_passed = True
        return on_chunk(chunk)

    request = _Request(session, node, fields, interval, min_stride, {}, timeout, on_progress, hear)

    async def ask() -> Data:
        with translated(node.name):
            if is_able:
                return await _ask(replace(request, ways=ways))
            return (await _ask_for_enough(request)).decimate(bucket, max_points)

    return await repeat_once(ask, lambda: node.replicas is not None and not has_passed)


async def _ask(request: _Request) -> Data:
    parts = [request] if "progressive" in request.node.features else _apart(request)
    turns = defer.DeferredSemaphore(MAX_CALLS)
    calls = [turns.run(lambda part=part: defer.ensureDeferred(part.run())) for part in parts]
    return await _joined(request, calls)


async def _ask_for_enough(request: _Request) -> Data:
    """Ask a node that cannot decimate for at most `MAX_SAMPLES` spaced samples of each field."""
    for limit in MAX_SAMPLES:
        stride = (request.interval.end - request.interval.start) / limit
        parts: defaultdict[float | None, dict[str, Field]] = defaultdict(dict)
        for name, field in request.fields.items():
            is_sparse = field.interval and field.interval >= stride
            parts[None if is_sparse else stride][name] = field
        told = request.on_progress if len(parts) == 1 else None
        asked = [
            replace(request, fields=part, min_stride=spacing, on_progress=told)
            for spacing, part in parts.items()
        ]
        try:
            return await _joined(request, map(_ask, asked))
        except ReplyTooLarge as error:
            too_large = error
    raise too_large


async def _joined(request: _Request, calls: Iterable[Awaitable[Data]]) -> Data:
    """Wait for the parts of a reply, and join them in the order of the request."""
    found = {name: series for data in await gather(calls) for name, series in data.items()}
    return Data({name: found[name] for name in request.fields})


def _apart(request: _Request) -> list[_Request]:
    """Split a request so that no part has two fields with the same timeline.

    Nodes of 2018 read each field from its own file, and reply with the times of one file. If
    another file lacks a sample, a common reply does not say which.
    """
    groups: defaultdict[int, dict[str, Field]] = defaultdict(dict)
    lines: Counter[str] = Counter()
    for name, field in request.fields.items():
        groups[lines[field.timeline]][name] = field
        lines[field.timeline] += 1
    return [replace(request, fields=each, on_progress=None) for each in groups.values()]


class _Window:
    """A running call for one window, and its chunks that were not passed on yet."""

    def __init__(self, start: float, began: float) -> None:
        self.start, self.began = start, began
        self.chunks: deque[Reply] = deque()
        self.has_begun = self.is_complete = False
        self.call: Any = None


@dataclass(eq=False)
class _Request:
    """Fetch the windows of a reply, two at a time, and larger ones while they arrive fast.

    The first chunk of a window says where the next one begins. With `min_stride`, that waits until
    the window is complete. A node without the feature `progressive` sends one window in one chunk.
    See `fetch`.
    """

    session: Session
    node: KnownNode
    fields: Mapping[str, Field]
    interval: Interval
    min_stride: float | None
    ways: Mapping[str, float]
    timeout: float
    on_progress: Callable[[Progress], None] | None
    on_chunk: Callable[[Reply], defer.Deferred | None]

    def __post_init__(self) -> None:
        self._assembly = Assembly(self.fields, self.node.name)
        self._next: Interval | None = self.interval
        self._underway: list[_Window] = []
        self._size = WINDOW_DEFAULT
        self._after: dict[str, float] = {}
        self._room: defer.Deferred | None = None
        self._timer: Any = None
        self._done: defer.Deferred[None] = defer.Deferred()
        self._samples = 0
        self._first = math.inf
        self._newest = -math.inf

    async def run(self) -> Data:
        """Fetch all windows, and join them."""
        try:
            self._go_on()
            await self._done
            return self._assembly.data(self.interval)
        finally:
            underway, self._underway = self._underway, []
            for window in underway:
                window.chunks.clear()
                window.call.cancel()
            self._restart_timer()
            # The session refers to this until the router answers: free the memory now.
            del self._assembly

    def _end(self, error: BaseException | None) -> None:
        """End the request; without an error, it is complete."""
        if not self._done.called:
            self._done.callback(None) if error is None else self._done.errback(error)

    def _restart_timer(self) -> None:
        """Give up if nothing comes for `timeout` seconds from now on, while a call is running."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._underway:
            late = defer.TimeoutError(self.timeout, "get_data")
            self._timer = self.session.reactor.callLater(self.timeout, self._end, late)

    def _go_on(self) -> None:
        """Ask for the next window if it is time for it, or end."""
        if self._done.called:
            return
        most = 2 if self.min_stride is None else 1
        if self._next and len(self._underway) < most and self._room is None:
            self._open(self._next)
        elif not (self._next or self._underway):
            self._end(None)

    def _open(self, asked: Interval) -> None:
        window = _Window(asked.start, self.session.reactor.seconds())
        self._underway.append(window)
        self._next = None
        self._restart_timer()
        arguments: list[Any] = [list(self.fields), asked.start, asked.end]
        if self.min_stride is not None:
            arguments.append(self.min_stride)
        keywords: dict[str, Any] = {**self.ways}
        if "binary" in self.node.features:
            keywords["encoding"] = "binary"
        if "progressive" in self.node.features:
            keywords["on_progress"] = partial(self._hear, window)
            if not self.ways:
                keywords["window"] = self._size  # a decimated reply always has one window
        if self._after:
            keywords["after"] = self._after
        uri = self.node.uri("get_data")
        window.call = self.session.request(uri, *arguments, timeout=None, **keywords)
        window.call.addCallback(partial(self._finish, window))
        window.call.addErrback(lambda failure: self._end(failure.value))

    def _hear(self, window: _Window, chunk: Any) -> None:
        """Take a chunk that is not the last one of its window."""
        try:
            self._take(window, chunk)
            self._go_on()
        except Exception as error:
            self._end(error)

    def _take(self, window: _Window, chunk: Any) -> None:
        if window not in self._underway:
            return  # the call was cancelled
        self._restart_timer()
        if chunk is False:
            raise ReplyTooLarge(
                f"the reply of {self.node.name!r} is over its allowance: ask for less time,"
                " fewer fields or a larger spacing (min_stride)"
            )
        window.chunks.append(decode(chunk, self.node.name))
        if not window.has_begun and "next" in chunk:
            self._next = self._following(window, chunk["next"], chunk.get("end"))
        window.has_begun = True
        self._pass_on()

    def _following(self, window: _Window, start: Any, end: Any) -> Interval:
        is_valid = all(isinstance(t, int | float) and math.isfinite(t) for t in (start, end))
        if not is_valid or start <= window.start:
            raise NodeContractError(self.node.name, None, "next and end must be later UNIX times")
        return Interval(float(start), float(end))

    def _pass_on(self) -> None:
        """Assemble chunks in time order: those of the second window wait for the first."""
        chunks = self._underway[0].chunks if self._underway else ()
        while chunks:
            chunk = chunks.popleft()
            self._samples += sum(map(len, chunk.data.values()))
            for name, line in chunk.timelines.items():
                if len(line.t):
                    self._first = min(self._first, float(line.t[0]))
                    self._newest = max(self._newest, float(line.t[-1]))
                    if self.min_stride is not None:
                        self._after[name] = float(line.t[-1])
            room = self.on_chunk(chunk)
            self._assembly.add(chunk, self._fraction())
            if room is not None and room is not self._room:
                self._room = room
                room.addCallback(self._make_room).addErrback(lambda why: self._end(why.value))

    def _make_room(self, _: Any) -> None:
        self._room = None
        self._go_on()

    def _finish(self, window: _Window, chunk: Any) -> None:
        """Take the last chunk of a window."""
        self._take(window, chunk)
        # Enlarge the window to what would arrive within this time at the same speed.
        factor = ENLARGE_WITHIN / max(self.session.reactor.seconds() - window.began, 1e-3)
        self._size = min(int(self._size * max(factor, 1.0)), WINDOW_MAX)
        window.is_complete = True
        while self._underway and self._underway[0].is_complete:
            del self._underway[0]
            self._tell_progress()
            self._pass_on()
        self._restart_timer()
        self._go_on()

    def _fraction(self) -> float:
        """Estimate the fraction of the interval received so far."""
        # It may begin long before the first sample, and end long after the last one.
        start = max(self.interval.start, min(self._first, self._newest))
        last = max((field.last or math.inf for field in self.fields.values()), default=math.inf)
        end = min(self.interval.end, last)
        return min(max(self._newest - start, 0.0) / max(end - start, 1e-9), 1.0)

    def _tell_progress(self) -> None:
        if self.on_progress is not None:
            is_last = not (self._next or self._underway)
            self.on_progress(Progress(self._samples, 1.0 if is_last else self._fraction()))
