"""How a node answers ``get_fields`` and ``get_data``: from the wire to its methods and back."""

from __future__ import annotations

import functools
import inspect
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import CallDetails
from twisted.internet import defer, task, threads
from twisted.python.threadpool import ThreadPool

from sisock.connection.logs import RepeatedWarning
from sisock.errors import InvalidArgument, NodeFailed, SisockError
from sisock.node.continuation import Continuations
from sisock.node.validation import check_reply
from sisock.wire import protocol
from sisock.wire.fields import check_fields
from sisock.wire.protocol import Interval
from sisock.wire.reply import Reply
from sisock.wire.request import DataRequest, parse_get_data, parse_get_fields

if TYPE_CHECKING:
    from sisock.node.data_node import DataNodeServer

THREADS = 8
"""Blocking methods that run at once; the reactor's own threads stay free for name look-ups."""

MOST_WAITING = 100
"""Requests that may wait for a thread; a further one is refused."""

_LIST_FACTOR = 4
"""A number in JSON takes up to 26 bytes, against 8 as bytes: windows of lists hold fewer."""


def make_pool(name: str, size: int) -> ThreadPool:
    """Start a pool of threads that do not keep the program from ending, even if one is stuck."""
    pool = ThreadPool(minthreads=0, maxthreads=size, name=f"sisock-{name}")
    pool.threadFactory = functools.partial(threading.Thread, daemon=True)
    pool.start()
    return pool


def stop_pool(pool: ThreadPool) -> None:
    """Have the threads of a pool end, without waiting for one that is stuck."""
    threading.Thread(target=pool.stop, daemon=True).start()


class Serving:
    """The two procedures of one node.

    Parameters
    ----------
    node : DataNodeServer
        Whose methods are asked.
    """

    def __init__(self, node: DataNodeServer, reactor: Any) -> None:
        self._node = node
        self._reactor = reactor
        self._pool = make_pool(node.name, THREADS)
        self._waiting = 0
        self._lock = threading.Lock()
        self._continuations = Continuations(reactor)
        self._timeline_of: dict[str, str] = {}
        self._warn = RepeatedWarning(node.log)
        self._log = node.log

    def stop(self) -> None:
        """End the threads."""
        self.forget()
        stop_pool(self._pool)

    def forget(self) -> None:
        """Forget what was read for windows to come: samples changed."""
        self._continuations.clear()

    def in_thread(self, function: Callable[..., Any], *args: Any) -> defer.Deferred:
        """Run a function in one of the node's threads.

        One that was given up before a thread was free is not run at all, or requests to a stuck
        device would be worked off long after their callers went.
        """
        if self._waiting >= MOST_WAITING:
            busy = f"the node is busy: {MOST_WAITING} requests wait already"
            return defer.fail(NodeFailed(busy))
        done: list[defer.Deferred] = []
        self._count(1)

        def run() -> Any:
            self._count(-1)
            if done and done[0].called:
                return None
            return function(*args)

        done.append(threads.deferToThreadPool(self._reactor, self._pool, run))
        return done[0]

    def _count(self, change: int) -> None:
        with self._lock:
            self._waiting += change

    async def get_fields(self, *args: Any, details: CallDetails, **kwargs: Any) -> Any:
        """Endpoint of ``get_fields``, see PROTOCOL.md."""
        return await self._guarded("get_fields", self.answer_fields(args, kwargs))

    async def get_data(self, *args: Any, details: CallDetails, **kwargs: Any) -> Any:
        """Endpoint of ``get_data``, see PROTOCOL.md."""
        return await self._guarded("get_data", self.answer_data(args, kwargs, details.progress))

    async def _guarded(self, verb: str, answer: Awaitable[Any]) -> Any:
        """Turn what an author's code may raise into the protocol's errors."""
        try:
            return await answer
        except InvalidArgument as error:
            raise ApplicationError(protocol.ERROR_INVALID_ARGUMENT, str(error)) from None
        except (defer.CancelledError, TransportLost):
            self._log.debug("{verb}: the caller gave up", verb=verb)
            raise ApplicationError("wamp.error.canceled") from None
        except Exception as error:
            self._warn(f"{verb} failed: {type(error).__name__}: {error}")
            self._log.debug("{traceback}", traceback=_traceback(error))
            raise ApplicationError(protocol.ERROR_NODE_FAILED, self._say(verb, error)) from None

    def _say(self, verb: str, error: Exception) -> str:
        # Only sisock's own text travels: that of another exception may hold a path or a password.
        if isinstance(error, SisockError):
            return f"{type(error).__name__}: {error}"
        name = self._node.name
        return f"{type(error).__name__} in {verb} of node {name!r}: the node's log has the details"

    async def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call one of the node's methods, in a thread if it may block."""
        if is_asynchronous(method):
            return await defer.maybeDeferred(method, *args)
        result = await self.in_thread(method, *args)
        if isinstance(result, defer.Deferred) or inspect.isawaitable(result):
            return await result
        return result

    async def answer_fields(self, args: tuple, kwargs: dict) -> Any:
        """Answer ``get_fields``; raises what is wrong with the request or with the node."""
        start, end = parse_get_fields(args, kwargs)
        began = time.perf_counter()
        checked = check_fields(await self.call(self._node.get_fields, start, end), self._node.name)
        self._remember(checked[0])
        self._log.debug(
            "get_fields answered",
            fields=len(checked[0]),
            ms=round((time.perf_counter() - began) * 1e3, 1),
        )
        return checked

    def _remember(self, fields: dict[str, dict[str, Any]]) -> None:
        self._timeline_of.update({name: entry["timeline"] for name, entry in fields.items()})

    async def answer_data(
        self, args: tuple, kwargs: dict, progress: Callable[[Any], None] | None
    ) -> Any:
        """Answer ``get_data``; raises what is wrong with the request or with the node."""
        request = parse_get_data(args, kwargs)
        if progress is None and "window" in kwargs:
            raise InvalidArgument("window needs a call with progressive results")
        began = time.perf_counter()
        kept = None if progress is None else self._continuations.take(request)
        reply = await self._ask_node(request) if kept is None else kept
        if reply is False:
            return False
        if progress is None:
            answer = await self.in_thread(self._in_one, reply, request)
        else:
            answer = await self._in_pieces(reply, request, progress)
        self._log.debug(
            "get_data answered",
            fields=len(request.fields),
            samples=sum(map(len, reply.data.values())),
            ms=round((time.perf_counter() - began) * 1e3, 1),
        )
        return answer

    async def look_up(self, fields: list[str], start: float, end: float) -> Reply | Literal[False]:
        """Ask the node itself and check what it says, as for a request.

        Raises
        ------
        NodeContractError
            If the node breaks a rule.
        """
        return await self._ask_node(parse_get_data((fields, start, end), {}))

    async def _ask_node(self, request: DataRequest) -> Reply | Literal[False]:
        if request.max_points is not None:
            overview = await self._overview(request, request.max_points)
            if overview is not None:
                return overview
        raw = await self.call(
            self._node.get_data,
            request.fields,
            request.sent_start,
            request.sent_end,
            request.min_stride,
        )
        if raw is False:  # the protocol's own way to say that it is too much
            return False
        await self._learn_timelines(raw, request)
        return await self.in_thread(self._prepare, raw, request)

    async def _overview(self, request: DataRequest, max_points: int) -> Reply | None:
        """Few samples, if the node has prepared any."""
        ask = self._node.get_overview
        given = (request.fields, request.sent_start, request.sent_end, max_points)

        def ask_and_check() -> Reply | None:
            raw = ask(*given)
            return None if raw is None else self._check(raw, request)

        if not is_asynchronous(ask):  # a panel of an archive: in one turn of a thread, not in two
            return await self.in_thread(ask_and_check)
        raw = await self.call(ask, *given)
        return None if raw is None else await self.in_thread(self._check, raw, request)

    async def _learn_timelines(self, raw: Any, request: DataRequest) -> None:
        """Ask the node which field follows which timeline, if the reply leaves it open."""
        lines = raw.get("timeline") if isinstance(raw, dict) else None
        if not isinstance(lines, dict) or len(lines) < 2 or "follows" in raw:
            return
        if all(self._timeline_of.get(name) in lines for name in request.fields):
            return
        raw_fields = await self.call(self._node.get_fields, request.sent_start, request.sent_end)
        self._remember(check_fields(raw_fields, self._node.name)[0])

    def _prepare(self, raw: Any, request: DataRequest) -> Reply:
        """Check, clip to the half-open interval and thin; in a thread."""
        reply = self._check(raw, request)
        if request.min_stride:
            reply = reply.thin(request.min_stride, request.after)
        if request.max_points is not None:
            reply = reply.overview(request.max_points)
        return reply

    def _check(self, raw: Any, request: DataRequest) -> Reply:
        reply = check_reply(raw, request.fields, self._node.name, self._timeline_of)
        return reply.clip(request.interval)

    def _in_one(self, reply: Reply, request: DataRequest) -> dict[str, Any] | bool:
        """Encode the reply as one message, or return False if it is over the allowance."""
        if request.binary:
            fits = reply.binary_size() <= protocol.MESSAGE_ALLOWANCE
        else:
            fits = reply.fits(self._node.allowance)
        if fits:
            return reply.to_wire(request.binary, request.max_points is not None)
        names = ", ".join(request.fields)
        self._warn(f"a reply of {names} is over the allowance: False is returned")
        return False

    async def _in_pieces(
        self, reply: Reply, request: DataRequest, progress: Callable[[Any], None]
    ) -> dict[str, Any]:
        """Send one window in pieces; the last is the call's result."""
        factor = 1 if request.binary else _LIST_FACTOR
        is_overview = request.max_points is not None
        window, following = reply, None
        if not is_overview:
            window, following = await self.in_thread(reply.head, request.window // factor)
        if following is not None and not request.min_stride:
            rest = reply.clip(Interval(following, request.interval.end))
            self._continuations.keep(request, following, rest)
        pieces = window.pieces(protocol.PIECE_BYTES // factor)
        wire = next(pieces).to_wire(request.binary, is_overview)
        if following is not None:
            wire["next"], wire["end"] = following, request.interval.end
        for piece in pieces:
            progress(wire)
            # Let other requests and pings through between two pieces.
            await task.deferLater(self._reactor, 0)
            wire = piece.to_wire(request.binary, is_overview)
        return wire


def is_asynchronous(method: Callable[..., Any]) -> bool:
    """Whether a method is a coroutine function or decorated with ``inlineCallbacks``."""
    return inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(
        inspect.unwrap(method)
    )


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
