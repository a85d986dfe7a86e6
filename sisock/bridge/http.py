"""Read HTTP requests from a connection, and write their answers one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.internet import defer
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import TimeoutMixin

from sisock.bridge.answers import NONE, Answer, failure
from sisock.connection.runtime import make_logger

SHORT = 1 << 18
"""Bytes of a body that is written at once, whether the client takes it or not."""

WRITE_BYTES = 1 << 20
"""Bytes that are handed to a socket at once; Twisted's own are 128 KiB."""

BODY_LIMIT = 1 << 20
"""Bytes of a request's body; those of a dashboard are a few thousand."""

HEAD_LIMIT, TRAVEL_LIMIT = 1 << 16, 4 << 20
"""Bytes of a request's first line and headers, and of all of it as it travels."""

KEEP_ALIVE = 120
"""Seconds that an idle connection stays: longer than the 90 of Grafana, which may just send."""

LINGER = 1.0
"""Seconds for which the rest of a refused request is dropped before the connection is closed."""

STALLED_AFTER = 60.0
"""Seconds that a client may take for what is on its way; an answer that nobody reads is cut off."""

CLIENT_LEFT = 499
"""Status in the log of a request whose client left before it was answered, as in nginx."""

_date = lru_cache(1)(lambda seconds: formatdate(seconds, usegmt=True))

log = make_logger()


@dataclass(slots=True)
class Request:
    """A request, and what becomes of it.

    Names of headers are in lower case; an old request is one of HTTP/1.0, the last one that of its
    connection. `refusal` is the answer to a request that is not read to its end, `cors` are headers
    of any answer to it, and `sent` the bytes of its answer's body.
    """

    client: str
    method: str = ""
    target: bytes = b""
    headers: dict[bytes, list[bytes]] = field(default_factory=dict)
    body: bytes = b""
    is_old: bool = False
    is_last: bool = False
    refusal: Answer | None = None
    cors: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    status: int = CLIENT_LEFT
    sent: int = 0

    @property
    def path(self) -> str:
        """The path, its escapes undone."""
        return unquote(self.target.partition(b"?")[0].decode("utf-8", "replace"))

    @property
    def query(self) -> str:
        """What is behind the question mark."""
        return self.target.partition(b"?")[2].decode("ascii", "replace")

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return what all headers of a name say."""
        return tuple(self.headers.get(name, ()))


class _Reader:
    """Make requests of what comes; the parser calls the methods that begin with on_.

    It has all once a request has come that is the connection's last, or is not read to its end.
    """

    def __init__(self, client: str) -> None:
        self.has_all = self.is_continued = False
        self.requests: deque[Request] = deque()
        self._parser = HttpRequestParser(self)
        self._client, self._travelled = client, 0
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        if self.has_all:
            return
        self._travelled += len(data)
        try:
            self._parser.feed_data(data)
            if self._travelled > (HEAD_LIMIT if self._is_head else TRAVEL_LIMIT):
                self._refuse(431 if self._is_head else 413, "the request is too long")
        except HttpParserUpgrade:
            pass  # nothing is: the request is answered, and was the last one
        except HttpParserError as error:
            self._refuse(400, f"this is no HTTP/1.1: {error}")

    def on_message_begin(self) -> None:
        self._request, self._is_head, self._size = Request(self._client), True, 0
        self._parts: list[bytes] = []

    def on_url(self, part: bytes) -> None:
        self._request.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head:  # else it is behind the body
            self._request.headers.setdefault(name.lower(), []).append(value)

    def on_headers_complete(self) -> None:
        self._is_head = False
        self._request.method = self._parser.get_method().decode()
        self._check(size := max(map(int, self._request.values(b"content-length")), default=0))
        if self._parser.should_upgrade() and (size or self._request.values(b"transfer-encoding")):
            self._refuse(501, "no connection is upgraded: send a body without the header Upgrade")
        self.is_continued = b"100-continue" in self._request.values(b"expect")

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        self._check(self._size)

    def on_message_complete(self) -> None:
        if not self.has_all:
            parser, request = self._parser, self._request
            request.body = b"".join(self._parts)
            request.is_old = parser.get_http_version() == "1.0"
            is_kept_alive = parser.should_keep_alive() and not parser.should_upgrade()
            self.has_all = request.is_last = request.is_old or not is_kept_alive
            self.requests.append(request)
            self._travelled = 0

    def _check(self, size: int) -> None:
        if size > BODY_LIMIT:
            self._parts.clear()
            self._refuse(413, f"the body is over {BODY_LIMIT} bytes")

    def _refuse(self, status: int, why: str) -> None:
        if not self.has_all:
            self.has_all = self._request.is_last = True
            self._request.refusal = failure(status, why, HTTPStatus(status).phrase)
            self.requests.append(self._request)


class Connection(Protocol, TimeoutMixin):
    """Answer the requests of one connection: a protocol, and the push producer of what it writes.

    Its front answers each, makes parts of long answers in a thread, and hears of what is over.
    """

    def __init__(self, front: Any, client: str) -> None:
        self._front = front
        self.callLater = front.reactor.callLater  # TimeoutMixin's
        self._reader = _Reader(client)
        self._is_lost = False
        self._current: Request | None = None
        self._job: defer.Deferred = defer.succeed(None)
        self._room: defer.Deferred | None = None

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        self.transport.SEND_LIMIT = WRITE_BYTES
        self.transport.registerProducer(self, True)
        self.setTimeout(KEEP_ALIVE)

    def timeoutConnection(self) -> None:
        """Close the connection of a client that is silent."""
        if self._current is not None:
            self.setTimeout(KEEP_ALIVE)
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """End what is done for the client."""
        self.setTimeout(None)
        self._is_lost = True
        if self._current is not None:
            self._front.ended(self._current)
            self._job.cancel()

    def pauseProducing(self) -> None:
        """Wait for the client to take what is written."""
        self._room = self._room or defer.Deferred()

    def resumeProducing(self) -> None:
        """Go on."""
        room, self._room = self._room or defer.Deferred(), None
        room.callback(None)
        self._go_on()

    def stopProducing(self) -> None:
        """Do nothing: `connectionLost` follows."""

    def dataReceived(self, data: bytes) -> None:
        """Read requests, and answer them."""
        self.resetTimeout()
        self._reader.feed(data)
        if self._reader.is_continued and not self._reader.has_all:
            self._reader.is_continued = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waits if there is room for an answer; more is read if nothing waits."""
        waiting = self._reader.requests
        while waiting and not (self._current or self._room or self._is_lost):
            self._current = waiting.popleft()
            self._job = defer.ensureDeferred(self._serve(self._current))
            self._job.addErrback(self._failed)
        if waiting:
            self.transport.pauseProducing()
        elif not self._is_lost and (self._current or not self._reader.has_all):
            self.transport.resumeProducing()

    async def _serve(self, request: Request) -> None:
        answer = await self._front.answer(request)
        request.status, body = answer.status, answer.body
        try:
            if body is None:
                await self._write(request, answer)
            else:
                length = {} if answer.status == 204 else {"Content-Length": str(len(body))}
                request.sent = len(body)
                head = self._head(request, answer, length)
                self.transport.writeSequence([head] if request.method == "HEAD" else [head, body])
                if len(body) > SHORT:
                    await self._has_room()
        finally:
            answer.on_end()
        if self._is_lost:
            return
        self._front.ended(request)
        self._current = None
        self.resetTimeout()
        if request.refusal is not None:
            # A connection that is closed while the client still sends is reset, the answer lost.
            self.callLater(LINGER, self.transport.loseConnection)
        elif request.is_last:
            self.transport.loseConnection()
        elif self._reader.requests:
            self.callLater(0, self._go_on)

    async def _write(self, request: Request, answer: Answer) -> None:
        """Write a long answer, part by part, as the client takes them."""
        length = NONE if request.is_old else {"Transfer-Encoding": "chunked"}
        self.transport.write(self._head(request, answer, length))
        if request.method == "HEAD":
            return
        is_async, parts = isinstance(answer.parts, AsyncGenerator), answer.parts
        async with aclosing(parts if is_async else self._front.in_thread(parts)) as made:
            async for part in made:
                if self._is_lost:
                    return
                request.sent += len(part)
                chunk = [part] if request.is_old else [b"%x\r\n" % len(part), part, b"\r\n"]
                self.transport.writeSequence(chunk)
                await self._has_room()
        if not request.is_old:
            self.transport.write(b"0\r\n\r\n")

    async def _has_room(self) -> None:
        """Wait until the client has taken all; raises TimeoutError if it does not."""
        if self._room is not None:
            try:
                await self._room.addTimeout(STALLED_AFTER, self._front.reactor)
            except defer.TimeoutError:
                raise TimeoutError(f"its client takes nothing for {STALLED_AFTER:g} s") from None

    def _head(self, request: Request, answer: Answer, length: Mapping[str, str]) -> bytes:
        given = {"Date": _date(int(time.time())), "Content-Type": "application/json"}
        given |= {**request.cors, **answer.headers, **length}
        given |= {"Connection": "close"} if request.is_last else {}
        lines = "".join([f"{name}: {value}\r\n" for name, value in given.items()])
        status = HTTPStatus(answer.status)
        return f"HTTP/1.1 {status:d} {status.phrase}\r\n{lines}\r\n".encode()

    def _failed(self, failure: Any) -> None:
        if not self._is_lost:
            log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
            # What was said to come does not: the client must not take it for the whole.
            self.transport.abortConnection()
