"""Fetch samples from a data node, using the features that it announces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
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
        Called with each chunk in time order. If it raises an error, the request ends. If it returns
        a Deferred, the next window is requested when that has fired.
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
    return await _united(request, calls)


async def _ask_for_enough(request: _Request) -> Data:
    """Ask a node that cannot decimate for at most `MAX_SAMPLES` spaced samples of each field."""
    for limit in MAX_SAMPLES:
        stride = (request.interval.end - request.interval.start) / limit
        parts: dict[float | None, dict[str, Field]] = {}
        for name, field in request.fields.items():
            is_sparse = field.interval and field.interval >= stride
            parts.setdefault(None if is_sparse else stride, {})[name] = field
        asked = [replace(request, fields=p, min_stride=each) for each, p in parts.items()]
        try:
            return await _united(request, map(_ask, asked))
        except ReplyTooLarge as error:
            too_large = error
    raise too_large


async def _united(request: _Request, calls: Iterable[Any]) -> Data:
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
    """A running call for one window; `first` fires with its first chunk, not decoded."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.chunks: list[Reply] = []
        self.passed = 0
        self.first: defer.Deferred = defer.Deferred()
        self.done: defer.Deferred = defer.Deferred()

    def fail(self, failure: Any) -> Any:
        """Pass a failure on to `first`, or to `done` if the first chunk has come."""
        if self.first.called:
            return failure
        self.first.errback(failure)
        return None


@dataclass(eq=False)
class _Request:
    """Fetch the windows of a reply, two at a time, and larger ones while they arrive fast.

    A node without the feature `progressive` sends one window in one chunk. See `fetch`.
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
        self._size = WINDOW_DEFAULT
        self._after: dict[str, float] = {}
        self._underway: list[_Window] = []
        self._error: Exception | None = None
        self._room: defer.Deferred | None = None
        self._samples = 0
        self._first: float | None = None

    async def run(self) -> Data:
        """Fetch all windows, and join them."""
        self._start_timer()
        try:
            await self._ask_all()
            return self._assembly.data(self.interval)
        except defer.CancelledError:
            raise self._error or defer.CancelledError() from None
        finally:
            if self._timer.active():
                self._timer.cancel()
            for window in self._underway:
                window.chunks.clear()
                window.done.addErrback(lambda _: None)
                window.done.cancel()
            self._underway.clear()
            # The session refers to this until the router answers: free the memory now.
            del self._assembly

    def _start_timer(self) -> None:
        # One timer for both windows: the second one can only arrive after the first.
        late = defer.TimeoutError(self.timeout, "get_data")
        self._timer = self.session.reactor.callLater(self.timeout, self._give_up, late)

    async def _ask_all(self) -> None:
        following: Interval | None = self.interval
        while following or self._underway:
            if following:
                if self._room is not None:
                    # Stop the timer until the caller has room for more.
                    self._timer.cancel()
                    await self._room
                    self._start_timer()
                following = await self._following(self._open(following), following)
            if len(self._underway) == 2 or not following or self.min_stride is not None:
                await self._close(self._underway[0], is_last=not following)

    def _open(self, asked: Interval) -> _Window:
        window = _Window(self.session.reactor.seconds())
        self._underway.append(window)
        arguments: list[Any] = [list(self.fields), asked.start, asked.end]
        if self.min_stride is not None:
            arguments.append(self.min_stride)
        keywords: dict[str, Any] = {**self.ways}
        if "binary" in self.node.features:
            keywords["encoding"] = "binary"
        if "progressive" in self.node.features:
            keywords["on_progress"] = partial(self._take, window)
            if not self.ways:
                keywords["window"] = self._size  # a decimated reply always has one window
        if self._after:
            keywords["after"] = self._after
        uri = self.node.uri("get_data")
        window.done = self.session.request(uri, *arguments, timeout=None, **keywords)
        window.done.addCallbacks(partial(self._finish, window), window.fail)
        return window

    def _take(self, window: _Window, chunk: Any) -> None:
        if window not in self._underway:
            return  # the call was cancelled
        if self._timer.active():
            self._timer.reset(self.timeout)
        try:
            if chunk is False:
                raise ReplyTooLarge(
                    f"the reply of {self.node.name!r} is over its allowance: ask for less time,"
                    " fewer fields or a larger spacing (min_stride)"
                )
            reply = decode(chunk, self.node.name)
            window.chunks.append(reply)
            self._pass_on()
        except Exception as error:
            self._give_up(error)
        if not window.first.called:
            window.first.callback(chunk)

    def _pass_on(self) -> None:
        """Pass chunks of the first running window to the caller; those of the second must wait."""
        for window in self._underway[:1]:
            for chunk in window.chunks[window.passed :]:
                window.passed += 1
                self._room = self.on_chunk(chunk)

    def _finish(self, window: _Window, chunk: Any) -> None:
        self._take(window, chunk)
        # Enlarge the window to what would arrive within this time at the same speed.
        factor = ENLARGE_WITHIN / max(self.session.reactor.seconds() - window.began, 1e-3)
        self._size = min(int(self._size * max(factor, 1.0)), WINDOW_MAX)

    def _give_up(self, error: Exception) -> None:
        self._error = self._error or error
        for window in list(self._underway):
            window.done.cancel()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _following(self, window: _Window, asked: Interval) -> Interval | None:
        """Wait for a window's first chunk, and return the interval of the next window."""
        head = await window.first
        self._check()
        if "next" not in head:
            return None
        start, end = head["next"], head.get("end")
        is_valid = all(isinstance(t, int | float) and math.isfinite(t) for t in (start, end))
        if not is_valid or start <= asked.start:
            raise NodeContractError(self.node.name, None, "next and end must be later UNIX times")
        return Interval(float(start), float(end))

    async def _close(self, window: _Window, is_last: bool) -> None:
        await window.done
        self._check()
        self._underway.remove(window)
        self._pass_on()
        share = self._tell_progress(window, is_last and not self._underway)
        for chunk in window.chunks:
            self._assembly.add(chunk, share)
            if self.min_stride is not None:
                lines = chunk.timelines.items()
                self._after |= {name: float(line.t[-1]) for name, line in lines if len(line.t)}
        window.chunks.clear()

    def _tell_progress(self, window: _Window, is_last: bool) -> float:
        """Count a window's samples, report progress, and return the fraction received so far."""
        self._samples += sum(len(v) for chunk in window.chunks for v in chunk.data.values())
        lines = [line.t for chunk in window.chunks for line in chunk.timelines.values()]
        times = [float(t[i]) for t in lines if len(t) for i in (0, -1)]
        # The interval may begin long before the first sample.
        if self._first is None and times:
            self._first = max(self.interval.start, min(times))
        first = self._first or self.interval.start
        # It may end long after the last sample.
        last = max(field.last or math.inf for field in self.fields.values())
        total = max(min(self.interval.end, last) - first, 1e-9)
        done = total if is_last else min(max(max(times, default=first) - first, 0), total)
        progress = Progress(self._samples, done, total)
        if self.on_progress is not None:
            self.on_progress(progress)
        return progress.fraction
