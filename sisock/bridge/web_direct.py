"""HTTP requests that are answered in the reactor: a thread for each would cost too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, TypeAlias

from twisted.internet import defer, threads
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from sisock.bridge.web_answer import Answer
from sisock.connection.logs import make_logger

Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Answers a request whatever happens; it is cancelled if the client leaves."""

MOST_AHEAD = 1 << 20
"""Bytes of an answer that are made before its client has taken them."""

STALLED_AFTER = 60.0
"""Seconds that a client may take for so much; an answer that nobody reads is cut off."""


class _Pace:
    """Whether a client takes what is written; a push producer of Twisted."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._is_paused = False
        self._resumed: defer.Deferred | None = None

    def pauseProducing(self) -> None:
        """Told by the transport when its buffer is full."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Told by the transport when its buffer is empty."""
        self._is_paused = False
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)

    def stopProducing(self) -> None:
        """Told when the client has gone, which ends all that is done for the request anyway."""

    async def wait(self) -> None:
        """Wait until the client has taken all.

        Raises
        ------
        TimeoutError
            If it does not.
        """
        if not self._is_paused:
            return
        self._resumed = defer.Deferred()
        try:
            await self._resumed.addTimeout(STALLED_AFTER, self._reactor)
        except defer.TimeoutError:
            raise TimeoutError(f"its client takes nothing for {STALLED_AFTER:g} s") from None


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
        pace = _Pace(self._reactor)
        request.registerProducer(pace, True)
        if answer.is_long:
            await self._make(request, iter(answer.parts), pace)
        else:
            body = b"".join(answer.parts)
            request.setHeader("Content-Length", str(len(body)))
            request.write(body)
        # Behind the end of an answer Twisted has less patience; and what waits here is counted.
        await pace.wait()
        if request.channel is not None:
            request.unregisterProducer()
            request.finish()

    async def _make(self, request: Request, parts: Iterator[bytes], pace: _Pace) -> None:
        """Write a long answer; a client that takes it slowly keeps no thread waiting."""
        write = (self._reactor, self._pool, _write, self._reactor, request, parts)
        while await threads.deferToThreadPool(*write):
            try:
                await pace.wait()
            except BaseException:
                _close(parts)
                raise

    def _failed(self, failure: Any, request: Request) -> None:
        if request.channel is None:
            return
        self._log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
        # What was said to come does not: the client must not take it for the whole.
        request.transport.abortConnection()


def _write(reactor: Any, request: Request, parts: Iterator[bytes]) -> bool:
    """Hand some parts on, each while the next is made; says if there are more. In a thread."""
    ahead = 0
    for part in parts:
        if request.channel is None:
            _close(parts)
            return False
        reactor.callFromThread(request.write, part)
        ahead += len(part)
        if ahead >= MOST_AHEAD:
            return True
    return False


def _close(parts: Iterator[bytes]) -> None:
    """Let go of what the parts are made of, which nothing else may do for a while."""
    if isinstance(parts, Generator):
        parts.close()
