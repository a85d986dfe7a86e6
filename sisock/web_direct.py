"""HTTP requests that are answered in the reactor: a thread for each would cost too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from twisted.internet import defer, threads
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from sisock.logs import make_logger
from sisock.web_answer import Answer

Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Answers a request whatever happens; it is cancelled if the client leaves."""


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
            # Ends with the last part, or with the client.
            await threads.deferToThreadPool(
                self._reactor, self._pool, self._write_parts, request, answer.parts
            )
        else:
            body = b"".join(answer.parts)
            request.setHeader("Content-Length", str(len(body)))
            request.write(body)
        if request.channel is not None:
            request.finish()

    def _write_parts(self, request: Request, parts: Iterable[bytes]) -> None:
        """Hand each part on while the next is made; runs in a thread."""
        for part in parts:
            if request.channel is None:
                return
            self._reactor.callFromThread(request.write, part)

    def _failed(self, failure: Any, request: Request) -> None:
        if request.channel is None:
            return
        self._log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
        # What was said to come does not: the client must not take it for the whole.
        request.transport.abortConnection()
