"""Serve HTTP: limits, access, CORS, errors, metrics and the log, once for all routes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson
from twisted.internet import defer, endpoints, threads
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.wsgi import WSGIResource

from sisock.bridge.access import Access, load_access
from sisock.bridge.answers import Answer, failure, failure_of
from sisock.connection.runtime import make_logger, make_pool
from sisock.connection.settings import parse_port
from sisock.errors import SettingsError

THREADS = 32
"""Requests of Flask, and long answers, that are worked on at once; most wait for a node."""

BACKLOG = 1024
"""Connections that may come at once: 32 dashboards of ten panels bring 320."""

BODY_LIMIT = 1 << 20
"""Bytes of a request's body; those of a dashboard are a few thousand."""

KEEP_ALIVE = 120
"""Seconds that an idle connection stays: longer than the 90 of Grafana, which may just send."""

CLIENT_LEFT = 499
"""Status in the log of a request whose client left before it was answered, as in nginx."""

LINGER = 1.0
"""Seconds for which the rest of a refused body is dropped before the connection is closed."""

STALLED_AFTER = 60.0
"""Seconds that a client may take for what is on its way; an answer that nobody reads is cut off."""

Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Answers a request in the reactor; it is cancelled if the client leaves."""

log = make_logger()


@dataclass(frozen=True)
class WebSettings:
    """Where the server listens, and whom it lets in."""

    bind: str
    port: int
    access: Access


def load_web_settings(environ: Mapping[str, str] = os.environ) -> WebSettings:
    """Read ``PORT``, ``BIND`` and what begins with ``SISOCK_HTTP_``; raises SettingsError."""
    port, bind = environ.get("PORT") or "5000", environ.get("BIND") or "127.0.0.1"
    return WebSettings(bind, parse_port(port, "PORT"), load_access(bind, environ))


class _LimitedRequest(Request):
    """A request whose body may not be larger than the limit, announced or not."""

    _received = 0
    _is_refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.began = time.monotonic()

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > BODY_LIMIT and not self._is_refused:
            self._refuse()
        if not self._is_refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._is_refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:
        # A client may have the whole answer, and go, before a thread says that this was all.
        # A request that is cut off before it has all come has no path yet.
        if not self._is_refused and self.path is not None:
            if not self.startedWriting:
                self.code = CLIENT_LEFT
            self.channel.factory.log(self)
        super().connectionLost(reason)

    def _refuse(self) -> None:
        self._is_refused = True
        # The request is not complete: only the channel knows as yet what it is.
        self.method, self.path = self.channel._command, self.channel._path.split(b"?")[0]
        body = failure(413, f"the body is over {BODY_LIMIT} bytes", "body too large").body or b""
        headers = {"Connection": "close", "Content-Type": "application/json"}
        headers["Content-Length"] = str(len(body))
        headers |= self.channel.factory.access.cors(self.requestHeaders, self.method)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = b"HTTP/1.1 413 Content Too Large\r\n"
        self.channel.transport.write(status + head.encode() + b"\r\n" + body)
        self.code, self.sentLength = 413, len(body)
        self.channel.factory.log(self)
        # A connection that is closed while the client still sends is reset, and the answer lost.
        self.channel.callLater(LINGER, self.channel.loseConnection)


class Front(Site):
    """Let requests in, hand each to its handler or else to the resource, count and log them."""

    def __init__(
        self,
        resource: Resource,
        handlers: Mapping[tuple[bytes, bytes], Handler],
        count: Callable[[str, int, float], None],
        access: Access,
        reactor: Any,
        pool: Any,
    ) -> None:
        # A form is no better than other bodies, and a broken one would get an answer without JSON.
        super().__init__(resource, _LimitedRequest, parsePOSTFormSubmission=False)
        self.timeOut = KEEP_ALIVE
        self.noisy = False
        self.access = access
        self._count = count
        self._in_reactor = partial(HandlerResource, reactor=reactor, pool=pool)
        self._handlers = {key: self._in_reactor(handler) for key, handler in handlers.items()}

    def getResourceFor(self, request: Any) -> Any:
        """Return what answers a request."""
        headers, path = request.requestHeaders, unquote_to_bytes(request.path)
        for name, value in self.access.cors(headers, request.method).items():
            request.setHeader(name, value)
        refused = self.access.refusal(headers, request.method, path)
        if refused is not None:
            return self._in_reactor(lambda _: defer.succeed(refused))
        handler = self._handlers.get((request.method, path))
        return super().getResourceFor(request) if handler is None else handler

    def log(self, request: Any) -> None:
        """Count a request that is over, and write its line of JSON."""
        path, seconds = request.path.decode("utf-8", "replace"), time.monotonic() - request.began
        self._count(path, request.code, seconds)
        # A health check every few seconds would drown the others.
        if path == "/healthz" and request.code == 200:
            return
        entry = {
            "method": request.method.decode("ascii", "replace"),
            # Without the query: a browser may have put a token there.
            "path": path,
            "status": request.code,
            "bytes": request.sentLength,
            "ms": round(seconds * 1e3, 1),
            "from": request.getClientAddress().host,
        }
        log.info("{entry}", entry=orjson.dumps(entry).decode())


class _Pace:
    """Wait for a client to take what is written; a push producer of Twisted."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._is_paused = False
        self._resumed: defer.Deferred | None = None

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request's own end stops what is done for it."""

    async def wait(self) -> None:
        """Wait until the client has taken all; raises TimeoutError if it does not."""
        if not self._is_paused:
            return
        self._resumed = defer.Deferred()
        try:
            await self._resumed.addTimeout(STALLED_AFTER, self._reactor)
        except defer.TimeoutError:
            raise TimeoutError(f"its client takes nothing for {STALLED_AFTER:g} s") from None


class HandlerResource(Resource):
    """Answer with what a handler returns; iterators are run in a thread of the pool."""

    isLeaf = True

    def __init__(self, handler: Handler, reactor: Any, pool: Any) -> None:
        super().__init__()
        self._handler = handler
        self._reactor = reactor
        self._pool = pool

    def render(self, request: Request) -> int:
        """Begin to answer."""
        job = defer.ensureDeferred(self._answer(request))
        request.notifyFinish().addErrback(lambda _: job.cancel())
        job.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._handler(request)
        except defer.CancelledError:
            raise
        except Exception as error:
            answer = failure_of(error, request.path.decode("utf-8", "replace"))
        pace = _Pace(self._reactor)
        try:
            request.registerProducer(pace, True)
            request.setResponseCode(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                request.setHeader(name, value)
            if answer.body:
                request.setHeader("Content-Length", str(len(answer.body)))
                request.write(answer.body)
            # Behind the end of an answer Twisted has less patience; and what waits is counted.
            await pace.wait()
            if answer.body is None:
                await self._write(request, answer.parts, pace)
        finally:
            answer.on_end()
        if request.channel is not None:
            request.unregisterProducer()
            request.finish()

    async def _write(self, request: Request, parts: Any, pace: _Pace) -> None:
        if not isinstance(parts, AsyncIterator):
            parts = self._in_thread(parts)
        async with aclosing(parts):
            async for part in parts:
                if request.channel is None:
                    return
                request.write(part)
                await pace.wait()

    async def _in_thread(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Make each part in a thread, when the client has taken those before."""
        work = self._reactor, self._pool, next, parts, None
        try:
            while (part := await threads.deferToThreadPool(*work)) is not None:
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()  # nothing else lets go of the samples for a while

    def _failed(self, failure: Any, request: Request) -> None:
        if request.channel is None:
            return
        log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
        # What was said to come does not: the client must not take it for the whole.
        request.transport.abortConnection()


async def serve(
    application: Any,
    settings: WebSettings,
    reactor: Any,
    handlers: Mapping[tuple[bytes, bytes], Handler],
    count: Callable[[str, int, float], None],
) -> None:
    """Listen, with a WSGI application for what no handler answers; raises SettingsError."""
    # Nobody waits for the threads in the end: they may wait for the reactor, which is no more.
    pool = make_pool("http", THREADS)

    def terminated(environ: dict[str, Any], start_response: Any) -> Any:
        # A body ends where it ends, also one in chunks, without length.
        environ["wsgi.input_terminated"] = True
        return application(environ, start_response)

    resource = WSGIResource(reactor, pool, terminated)
    site = Front(resource, handlers, count, settings.access, reactor, pool)
    endpoint = endpoints.TCP4ServerEndpoint(
        reactor, settings.port, backlog=BACKLOG, interface=settings.bind
    )
    try:
        await endpoint.listen(site)
    except Exception as error:
        where = f"{settings.bind}:{settings.port}"
        what = "end the program that has it, or set PORT or BIND"
        raise SettingsError(f"cannot listen on {where} ({error}): {what}") from None
