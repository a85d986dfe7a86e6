"""HTTP requests that are answered in the reactor: a thread for each would cost too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from twisted.internet import defer, threads
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from sisock.logs import make_logger
from sisock.web_answer import Answer

Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Answers a request whatever happens; it is cancelled if the client leaves."""

MOST_AHEAD = 4 << 20
"""Bytes of an answer that are made before a client takes them, about: no more wait in memory."""


class _Pace:
    """How far ahead of its client an answer is; a push producer of Twisted."""

    def __init__(self) -> None:
        self._is_paused = False
        self._ahead = 0
        self._resumed: defer.Deferred | None = None

    def pauseProducing(self) -> None:
        """Told by the transport when its buffer is full."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Told by the transport when its buffer is empty."""
        self._is_paused, self._ahead = False, 0
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)

    def stopProducing(self) -> None:
        """Told when the client has gone, which ends all that is done for the request anyway."""

    def count(self, part: bytes) -> bool:
        """Count what is written, and say whether it is enough until the client has taken it."""
        self._ahead += len(part)
        return self._is_paused and self._ahead >= MOST_AHEAD

    async def wait(self) -> None:
        """Wait until the client has taken all."""
        if self._is_paused:
            self._resumed = defer.Deferred()
            await self._resumed


class DirectResource(Resource):
    """Answers with what a coroutine returns.

    Parameters
    ----------
    handler : callable
        See `Handler`.
    pool : ThreadPool
        Where long answers are made.
    """

    isLeaf = True

    def __init__(self, handler: Handler, reactor: Any, pool: ThreadPool) -> None:
        super().__init__()
        self._handler = handler
        self._reactor = reactor
        self._pool = pool
        self._log = make_logger()

    def render(self, request: Request) -> int:
        """Begin to answer."""
        job = defer.ensureDeferred(self._answer(request))
        request.notifyFinish().addErrback(lambda _: job.cancel())
        job.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        answer = await self._handler(request)
        request.setResponseCode(answer.status)
        request.setHeader("Content-Type", "application/json")
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        if answer.is_long:
            await self._send(request, iter(answer.parts))
        else:
            body = b"".join(answer.parts)
            request.setHeader("Content-Length", str(len(body)))
            request.write(body)
        if request.channel is not None:
            request.finish()

    async def _send(self, request: Request, parts: Iterator[bytes]) -> None:
        """Send a long answer; a client that takes it slowly keeps no thread waiting."""
        pace = _Pace()
        request.registerProducer(pace, True)
        write = (self._reactor, self._pool, self._write, request, parts, pace)
        while await threads.deferToThreadPool(*write):
            await pace.wait()
        if request.channel is not None:
            request.unregisterProducer()

    def _write(self, request: Request, parts: Iterator[bytes], pace: _Pace) -> bool:
        """Hand parts on, each while the next is made; says if there are more. In a thread."""
        for part in parts:
            if request.channel is None:
                return False
            self._reactor.callFromThread(request.write, part)
            if pace.count(part):
                return True
        return False

    def _failed(self, failure: Any, request: Request) -> None:
        if request.channel is None:
            return
        self._log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
        # What was said to come does not: the client must not take it for the whole.
        request.transport.abortConnection()
