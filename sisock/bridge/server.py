"""Serve HTTP: limits, access, CORS, errors, metrics and the log, once for all routes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson
from twisted.internet import defer, endpoints, threads
from twisted.web.http import NO_CONTENT, RESPONSES, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.server import Request, Site
from twisted.web.wsgi import WSGIResource

from sisock.bridge.access import Access, WebSettings
from sisock.bridge.answers import Answer, failure, failure_of
from sisock.connection.runtime import make_logger, make_pool
from sisock.errors import SettingsError

THREADS = 32
"""Requests of Flask, and long answers, that are worked on at once; most wait for a node."""

BACKLOG = 1024
"""Connections that may come at once: 32 dashboards of ten panels bring 320."""

SHORT = 1 << 18
"""Bytes of a body that is written at once, whether the client takes it or not."""

WRITE_BYTES = 1 << 20
"""Bytes that are handed to a socket at once; Twisted's own are 128 KiB."""

JSON = "application/json"

_DECISIVE = b"Host", b"Origin", b"Authorization"

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


class _Request(Request):
    """A request whose body is limited, and which is answered by a handler if there is one."""

    _received = 0
    _is_refused = False
    _job: defer.Deferred | None = None
    startedWriting = 0

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
        if self._job is not None:
            self._job.cancel()

    def process(self) -> None:
        front = self.channel.site
        path = unquote_to_bytes(self.path)
        refused, self._cors = front.admit(self.requestHeaders, self.method, path)
        handler = front.handlers.get((self.method, path))
        if refused is not None:
            self._put(refused, refused.body or b"")
            self.finish()
        elif handler is not None:
            self._job = defer.ensureDeferred(self._answer(handler, front))
            self._job.addErrback(self._failed)
        else:
            for name, value in self._cors.items():
                self.setHeader(name, value)
            super().process()

    async def _answer(self, handler: Handler, front: Front) -> None:
        try:
            answer = await handler(self)
        except defer.CancelledError:
            raise
        except Exception as error:
            answer = failure_of(error, self.path.decode("utf-8", "replace"))
        body = answer.body
        if body is not None and len(body) <= SHORT:
            answer.on_end()
            self._put(answer, body)
        else:
            try:
                await self._write(answer, front)
            finally:
                answer.on_end()
            if self.channel is None:
                return
            self.unregisterProducer()
        self.finish()

    def _put(self, answer: Answer, body: bytes) -> None:
        """Write an answer in one piece."""
        self.code, self.sentLength, self.startedWriting = answer.status, len(body), 1
        reason = RESPONSES.get(answer.status, b"")
        lines = [b"%b %d %b" % (self.clientproto, answer.status, reason)]
        given = {"Date": datetimeToString().decode(), **self._cors, **answer.headers}
        if answer.status != NO_CONTENT:
            given |= {"Content-Type": JSON, "Content-Length": str(len(body))}
        lines += [f"{name}: {value}".encode() for name, value in given.items()]
        for name, values in self.responseHeaders.getAllRawHeaders():  # Connection: close
            lines += [name + b": " + value for value in values]
        head = b"\r\n".join([*lines, b"\r\n"])
        self.transport.SEND_LIMIT = WRITE_BYTES
        self.channel.writeSequence([head] if self.method == b"HEAD" else [head, body])

    async def _write(self, answer: Answer, front: Front) -> None:
        """Write a long answer part by part, as the client takes them."""
        pace = _Pace(front.reactor)
        self.transport.SEND_LIMIT = WRITE_BYTES
        self.registerProducer(pace, True)
        self.setResponseCode(answer.status)
        for name, value in {"Content-Type": JSON, **self._cors, **answer.headers}.items():
            self.setHeader(name, value)
        parts: Any = answer.parts
        if (body := answer.body) is not None:
            self.setHeader("Content-Length", str(len(body)))
            self.write(body)
            # Behind the end of an answer Twisted has less patience; and what waits is counted.
            await pace.wait()
            return
        made = parts if isinstance(parts, AsyncGenerator) else front.in_thread(parts)
        async with aclosing(made) as parts:
            async for part in parts:
                if self.channel is None:
                    return
                self.write(part)
                await pace.wait()

    def _failed(self, failure: Any) -> None:
        if self.channel is None:
            return
        log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
        # What was said to come does not: the client must not take it for the whole.
        self.transport.abortConnection()

    def _refuse(self) -> None:
        self._is_refused = True
        # The request is not complete: only the channel knows as yet what it is.
        self.method, self.path = self.channel._command, self.channel._path.split(b"?")[0]
        self.clientproto = b"HTTP/1.1"
        self._cors = self.channel.site.admit(self.requestHeaders, self.method, self.path)[1]
        self.setHeader("Connection", "close")
        answer = failure(413, f"the body is over {BODY_LIMIT} bytes", "body too large")
        self._put(answer, answer.body or b"")
        self.channel.site.log(self)
        # A connection that is closed while the client still sends is reset, and the answer lost.
        self.channel.callLater(LINGER, self.channel.loseConnection)


class Front(Site):
    """Let requests in, hand each to its handler or else to the resource, count and log them."""

    def __init__(
        self,
        resource: Any,
        handlers: Mapping[tuple[bytes, bytes], Handler],
        count: Callable[[str, int, float], None],
        access: Access,
        reactor: Any,
        pool: Any,
    ) -> None:
        # A form is no better than other bodies, and a broken one would get an answer without JSON.
        super().__init__(resource, _Request, reactor=reactor, parsePOSTFormSubmission=False)
        self.timeOut = KEEP_ALIVE
        self.noisy = False
        self.handlers = handlers
        self._count = count
        self._pool = pool
        # Clients repeat themselves.
        self._decide = lru_cache(access.decide)

    def admit(
        self, headers: Headers, method: bytes, path: bytes
    ) -> tuple[Answer | None, Mapping[str, str]]:
        """Return the answer to a request that is not let in, and the headers of CORS."""
        hosts, origins, signed = (tuple(headers.getRawHeaders(name) or ()) for name in _DECISIVE)
        return self._decide(hosts, origins, signed[:1], method == b"OPTIONS", path == b"/healthz")

    async def in_thread(self, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Make each part in a thread, when the client has taken those before."""
        work = self.reactor, self._pool, next, parts, None
        try:
            while (part := await threads.deferToThreadPool(*work)) is not None:
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()  # nothing else lets go of the samples for a while

    def log(self, request: Any) -> None:
        """Count a request that is over, and write its line of JSON."""
        path, seconds = request.path.decode("utf-8", "replace"), time.monotonic() - request.began
        self._count(path, request.code, seconds)
        # A health check every few seconds would drown the others.
        if path == "/healthz" and request.code == 200:
            return

        def entry() -> str:
            line = {
                "method": request.method.decode("ascii", "replace"),
                # Without the query: a browser may have put a token there.
                "path": path,
                "status": request.code,
                "bytes": request.sentLength,
                "ms": round(seconds * 1e3, 1),
                "from": request.getClientAddress().host,
            }
            return orjson.dumps(line).decode()

        log.info("{entry()}", entry=entry)  # made only if it is written


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
