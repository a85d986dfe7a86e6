"""Answer calls of ``get_fields`` and ``get_data`` with the node's methods."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Literal

from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import CallDetails
from twisted.internet import defer, task, threads

from sisock.connection.runtime import RepeatedWarning, is_asynchronous, make_pool, stop_pool
from sisock.errors import InvalidArgument, NodeFailed, SisockError
from sisock.node.api import DataNodeServer
from sisock.node.validation import check_decimated, check_reply, find_misspelt_key, needs_timelines
from sisock.wire import protocol
from sisock.wire.arrays import Samples
from sisock.wire.fields import check_fields
from sisock.wire.protocol import Interval, widening
from sisock.wire.reply import Reply, chunks, first_window
from sisock.wire.request import DataRequest, parse_get_data, parse_get_fields

THREADS = 8  # blocking methods that run at once; the reactor's own threads resolve host names
MAX_WAITING = 100  # requests that wait for a thread; more are refused
_LIST_FACTOR = 4  # a window of lists has fewer samples, as JSON takes more bytes than binary

Steps = Generator[Callable[[], Any], Any, Any]
"""Work for a thread. It yields functions to call in the reactor, and is sent their results."""


class RequestHandler:
    """Answer calls of a node's two procedures by calling the node's methods."""

    def __init__(self, node: DataNodeServer, reactor: Any) -> None:
        self._node = node
        self._reactor = reactor
        self._pool = make_pool(node.name, THREADS)
        self._waiting: set[object] = set()
        self._continuations = Continuations(reactor)
        self._changes = 0
        self._timeline_of: dict[str, str] = {}
        self.warn = RepeatedWarning(node.log)

    def stop(self) -> None:
        """End the threads."""
        self.forget()
        stop_pool(self._pool)

    def forget(self) -> None:
        """Forget the samples read for later windows, because samples have changed."""
        self._changes += 1
        self._continuations.clear()

    async def get_fields(self, *args: Any, details: CallDetails, **kwargs: Any) -> Any:
        """Answer ``get_fields`` as a procedure, see the protocol."""
        return await self._guarded("get_fields", self.answer_fields(args, kwargs))

    async def get_data(self, *args: Any, details: CallDetails, **kwargs: Any) -> Any:
        """Answer ``get_data`` as a procedure, see the protocol."""
        return await self._guarded("get_data", self.answer_data(args, kwargs, details.progress))

    async def _guarded(self, verb: str, answer: Awaitable[Any]) -> Any:
        """Await an answer; convert exceptions of the author's code to errors of the protocol."""
        log = self._node.log
        try:
            return await answer
        except InvalidArgument as error:
            raise ApplicationError(protocol.ERROR_INVALID_ARGUMENT, str(error)) from None
        except (defer.CancelledError, TransportLost):
            log.debug("{verb}: the caller gave up", verb=verb)
            raise ApplicationError("wamp.error.canceled") from None
        except Exception as error:
            self.warn(f"{verb} failed: {type(error).__name__}: {error}")
            log.debug("{traceback}", traceback="".join(traceback.format_exception(error)))
            # Send the text of sisock's errors only: others may contain a path or a password.
            says = f"in {verb} of node {self._node.name!r}: the node's log has the details"
            says = f": {error}" if isinstance(error, SisockError) else f" {says}"
            text = type(error).__name__ + says
            raise ApplicationError(protocol.ERROR_NODE_FAILED, text) from None

    async def answer_fields(self, args: tuple, kwargs: dict) -> Any:
        """Return the answer to ``get_fields``; raises any error of the request or the node."""
        start, end = parse_get_fields(args, kwargs)
        return await self._work(self._node.get_fields, self._ask_fields(start, end))

    async def answer_data(
        self, args: tuple, kwargs: dict, progress: Callable[[Any], None] | None
    ) -> Any:
        """Return the answer to ``get_data``; raises any error of the request or the node."""
        request = parse_get_data(args, kwargs)
        if progress is None and "window" in kwargs:
            raise InvalidArgument("window needs a call with progressive results")
        changes = self._changes
        kept = None if progress is None else self._continuations.take(request)
        node = self._node
        first: Callable[..., Any] = node.get_decimated if request.is_decimated else node.get_data
        first = node.get_latest if request.latest else first
        steps = self._answer(request, kept, progress is not None)
        wires, rest = await self._work(first if kept is None else None, steps)
        if rest is not None and changes == self._changes:
            self._continuations.keep(request, wires[0]["next"], rest)
        for i in range(len(wires) - 1):
            progress(wires[i])  # type: ignore[misc]
            wires[i] = None
            # Let other requests and pings through between two chunks.
            await task.deferLater(self._reactor, 0)
        return wires[-1]

    async def look_up(self, fields: list[str], start: float, end: float) -> Reply | Literal[False]:
        """Return the node's checked samples, as for a request; False if there are too many."""
        request = parse_get_data((fields, start, end), {})
        reply = await self._work(self._node.get_data, self._ask(request))
        return False if reply is False or reply.until is not None else reply

    def in_thread(self, function: Callable[..., Any], *args: Any) -> defer.Deferred:
        """Run a function in one of the node's threads.

        The function is skipped if the Deferred is cancelled before a thread is free: otherwise
        requests to a stuck device would continue long after their callers have left.
        """
        if len(self._waiting) >= MAX_WAITING:
            busy = f"the node is busy: {MAX_WAITING} requests wait already"
            return defer.fail(NodeFailed(busy))
        done: list[defer.Deferred] = []
        self._waiting.add(ticket := object())

        def run() -> Any:
            self._waiting.remove(ticket)
            return None if done and done[0].called else function(*args)

        done.append(threads.deferToThreadPool(self._reactor, self._pool, run))
        return done[0]

    async def _work(self, first: Callable[..., Any] | None, steps: Steps) -> Any:
        """Run the steps in a thread, and the functions that they yield in the reactor.

        `first` is the first method that the steps call; if it is asynchronous, they begin here.
        """
        if first is not None and is_asynchronous(first):
            is_done, value = _advance(steps, None)
        else:
            is_done, value = await self.in_thread(_advance, steps, None)
        while not is_done:
            is_done, value = await self.in_thread(_advance, steps, await value())
        return value

    def _ask_fields(self, start: float, end: float) -> Steps:
        raw = yield from _call(self._node.get_fields, start, end)
        checked = check_fields(raw, self._node.name)
        if not self._timeline_of and (text := find_misspelt_key(raw[0])):
            self.warn(text)
        self._timeline_of.update({name: about["timeline"] for name, about in checked[0].items()})
        return checked

    def _ask(self, request: DataRequest) -> Steps:
        """Ask the node, check its samples, and decimate them; return a `Reply`, or False."""
        node, times = self._node, (request.start, request.end)
        if request.is_decimated:
            how = request.bucket, request.max_points
            raw = yield from _call(node.get_decimated, request.field, *times, *how)
            if raw is not None:
                return check_decimated(raw, request.field, node.name).clip(request.interval)
        raw = yield from _call(node.get_data, request.field, *times, request.min_stride)
        if raw is False:  # in the base protocol: the reply is too large
            return False
        if needs_timelines(raw, request.field, self._timeline_of):
            yield from self._ask_fields(*times)
        checked = check_reply(raw, request.field, node.name, self._timeline_of)
        reply = checked.clip(request.interval)
        if request.min_stride:
            return reply.stride(request.min_stride, request.after or {})
        if request.is_decimated:
            return reply.decimate(request.bucket, request.max_points)
        return reply

    def _ask_latest(self, request: DataRequest) -> Steps:
        """Ask the node for the last samples; by default search further and further back."""
        end = request.interval.end
        raw = yield from _call(self._node.get_latest, request.field, end)
        if raw is not None:
            return check_reply(raw, request.field, self._node.name, self._timeline_of)
        found: dict[str, tuple[str, Samples]] = {}
        for each in widening(end):
            missing = [name for name in request.field if name not in found]
            if not missing:
                break
            part = yield from self._ask(DataRequest(missing, each.start, each.end))
            if part is False:
                return False
            found |= part.last()
        return Reply.merged(found, request.field)

    def _answer(self, request: DataRequest, kept: Reply | None, is_progressive: bool) -> Steps:
        """Return the chunks to send, and the rest of the reply for later windows."""
        ask = self._ask_latest if request.latest else self._ask
        reply = (yield from ask(request)) if kept is None else kept
        if reply is False:
            return [False], None
        if is_progressive:
            return _window(reply, request)
        allowance = protocol.MESSAGE_ALLOWANCE if request.is_binary else self._node.allowance
        fits = reply.until is None and reply.fits(allowance, request.is_binary)
        if not fits:
            names = ", ".join(request.field)
            self.warn(f"the reply with {names} is too large (see allowance): False was sent")
        return [fits and reply.to_wire(request.is_binary)], None


def _call(method: Callable[..., Any], *args: Any) -> Steps:
    """Call a node's method: in this thread, or in the reactor if the method is asynchronous."""
    if is_asynchronous(method):
        return (yield partial(defer.maybeDeferred, method, *args))
    result = method(*args)
    if isinstance(result, defer.Deferred) or inspect.isawaitable(result):
        return (yield lambda: result)
    return result


def _advance(steps: Steps, value: Any) -> tuple[bool, Any]:
    """Run steps; return False and the next function for the reactor, or True and the result."""
    try:
        return False, steps.send(value)
    except StopIteration as done:
        return True, done.value


def _window(reply: Reply, request: DataRequest) -> tuple[list[Any], Reply | None]:
    """Return the encoded chunks of the first window of a reply, and the rest of the reply."""
    factor = 1 if request.is_binary else _LIST_FACTOR
    window, following, rest = reply, None, None
    if not (request.is_decimated or request.latest):
        window, following = first_window(reply, request.window // factor)
        following = reply.until if following is None else following
    cut = chunks(window, protocol.CHUNK_BYTES // factor)
    wires = [chunk.to_wire(request.is_binary) for chunk in cut]
    if following is not None:
        wires[0] |= {"next": following, "end": request.interval.end}
        if not request.min_stride and following != reply.until:
            rest = reply.clip(Interval(following, request.interval.end))
    return wires, rest


class Continuations:
    """Keep the rest of replies that are sent in windows, for the calls of the next windows.

    If no rest is kept for a call, the node's own code is called again, which takes longer.
    """

    KEPT_FOR = 30.0  # seconds
    MAX_KEPT = 100
    MAX_BYTES = 256 << 20

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._kept: dict[tuple, tuple[Reply, Any]] = {}

    def keep(self, request: DataRequest, following: float, reply: Reply) -> None:
        """Keep the samples from the time `following` on; call this in the reactor."""
        key = (*request.field, following, request.interval.end)
        self._forget(key)
        self._kept[key] = reply, self._reactor.callLater(self.KEPT_FOR, self._forget, key)
        while len(self._kept) > self.MAX_KEPT or self._bytes() > self.MAX_BYTES:
            self._forget(next(iter(self._kept)))

    def _bytes(self) -> int:
        # Count each buffer once: many rests may be views of the same one.
        return sum(dict(each for reply, _ in self._kept.values() for each in reply.held()).values())

    def take(self, request: DataRequest) -> Reply | None:
        """Remove and return the rest kept for this request; call this in the reactor."""
        # Only a request with absolute times and for all samples can continue a reply.
        if request.min_stride or request.is_decimated or request.latest or request.start <= 0:
            return None
        return self._forget((*request.field, request.interval.start, request.interval.end))

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._kept):
            self._forget(key)

    def _forget(self, key: tuple) -> Reply | None:
        reply, timer = self._kept.pop(key, (None, None))
        if timer is not None and timer.active():
            timer.cancel()
        return reply
