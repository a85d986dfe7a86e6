"""Read HTTP requests from a connection, and write their answers in order."""

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

WRITE_BYTES = 1 << 20
"""Bytes passed to the socket at once; Twisted's default is 128 KiB."""

HEAD_LIMIT, REQUEST_LIMIT = 1 << 16, 1 << 20
"""Bytes of a request's first line and headers, and of the whole request; those of dashboards have a
few thousand."""

KEEP_ALIVE = 120
"""Seconds before an idle connection is closed: Grafana itself closes it after 90."""

LINGER = 1.0  # seconds during which the rest of a rejected request is discarded before closing
STALLED_AFTER = 60.0  # seconds without the client reading after which its answer is aborted

CLIENT_LEFT = 499
"""Logged status of a request whose client disconnected before the answer, as in nginx."""

_date = lru_cache(1)(lambda seconds: formatdate(seconds, usegmt=True))

log = make_logger()


@dataclass(slots=True)
class Request:
    """Hold a request, and what is logged of its answer.

    Header names are in lower case. `is_old` means HTTP/1.0, `is_last` that the connection ends with
    this request. `refusal` is the answer to an invalid request, which is not read to its end,
    `cors` are headers for its answer, `sent` counts the bytes of the answer's body.
    """

    client: str
    method: str = ""
    target: bytes = b""
    headers: dict[str, list[str]] = field(default_factory=dict)
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
        """The path, unquoted."""
        return unquote(self.target.partition(b"?")[0].decode("utf-8", "replace"))

    @property
    def query(self) -> str:
        """The query string, after the question mark."""
        return self.target.partition(b"?")[2].decode("ascii", "replace")

    @property
    def origins(self) -> list[str]:
        """The values of ``Origin``; "null" for what another page embeds, like an image."""
        if "no-cors" in self.values("sec-fetch-mode"):
            sites = self.values("sec-fetch-site")
            if "cross-site" in sites or "same-site" in sites:
                return ["null"]
        return self.values("origin")

    def values(self, name: str) -> list[str]:
        """Return the values of all headers with this name."""
        return self.headers.get(name, [])


class _Reader:
    """Parse bytes into requests; the parser calls the methods ``on_…``.

    `has_all` is true after the connection's last request, or after an invalid one. `size` is the
    number of bytes of an unfinished request.
    """

    def __init__(self, client: str) -> None:
        self.has_all = self.is_continued = False
        self.requests: deque[Request] = deque()
        self._parser = HttpRequestParser(self)
        self._client, self.size = client, 0
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        if self.has_all:
            return
        self.size += len(data)
        try:
            self._parser.feed_data(data)
            limit, status = (HEAD_LIMIT, 431) if self._is_head else (REQUEST_LIMIT, 413)
            if self.size > limit:
                self.refuse(status, f"the request is over {limit} bytes")
        except HttpParserUpgrade:
            pass  # the request is answered without an upgrade, as the connection's last one
        except HttpParserError as error:
            self.refuse(400, f"the request is not valid HTTP/1.1: {error}")

    def on_message_begin(self) -> None:
        self._request, self._is_head = Request(self._client), True
        self._parts: list[bytes] = []

    def on_url(self, part: bytes) -> None:
        self._request.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head:  # ignore trailers after the body
            values = self._request.headers.setdefault(name.decode("latin-1").lower(), [])
            values.append(value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._is_head = False
        self._request.method = self._parser.get_method().decode()
        has_body = {"content-length", "transfer-encoding"} & self._request.headers.keys()
        if self._parser.should_upgrade() and has_body:
            self.refuse(501, "upgrades are not supported: send a body without the header Upgrade")
        self.is_continued = "100-continue" in self._request.values("expect")

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if not self.has_all:
            parser, request = self._parser, self._request
            request.body = b"".join(self._parts)
            request.is_old = parser.get_http_version() == "1.0"
            is_kept_alive = parser.should_keep_alive() and not parser.should_upgrade()
            self.has_all = request.is_last = request.is_old or not is_kept_alive
            self.requests.append(request)
            self.size = 0

    def refuse(self, status: int, why: str) -> None:
        self._parts, self.size = [], 0
        if not self.has_all:
            self.has_all = self._request.is_last = True
            self._request.refusal = failure(status, why, HTTPStatus(status).phrase)
            self.requests.append(self._request)


class Connection(Protocol, TimeoutMixin):
    """Answer the requests of one connection in order, by a `sisock.bridge.server.Front`.

    It is a protocol, and also the transport's push producer, so that it can wait for the client.
    """

    def __init__(self, front: Any, client: str) -> None:
        self._front = front
        self.callLater = front.reactor.callLater  # used by TimeoutMixin
        self._reader = _Reader(client)
        self._is_lost = False
        self._current: Request | None = None
        self._job: defer.Deferred = defer.succeed(None)
        self._paused: defer.Deferred | None = None

    def connectionMade(self) -> None:
        """Set the connection up."""
        self.transport.setTcpNoDelay(True)
        self.transport.SEND_LIMIT = WRITE_BYTES
        self.transport.registerProducer(self, True)
        self.setTimeout(KEEP_ALIVE)
        self._front.connections.use(self)

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._current is not None or bool(self._reader.requests)

    @property
    def held(self) -> int:
        """Bytes of an unfinished request."""
        return self._reader.size

    def close(self) -> None:
        """Close the connection once the client has taken all that is written."""
        self.transport.unregisterProducer()  # otherwise Twisted waits for more to be written
        self.transport.loseConnection()

    def timeoutConnection(self) -> None:
        """Close an idle connection; one with a request under way stays."""
        if self._current is not None:
            self.setTimeout(KEEP_ALIVE)
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Cancel the request under way."""
        self.setTimeout(None)
        self._is_lost = True
        self._front.connections.pop(self, None)
        if self._current is not None:
            self._front.ended(self._current)
            self._job.cancel()

    def pauseProducing(self) -> None:
        """Pause writing: the client has not taken what is written."""
        self._paused = self._paused or defer.Deferred()

    def resumeProducing(self) -> None:
        """Resume writing."""
        room, self._paused = self._paused or defer.Deferred(), None
        room.callback(None)
        self._go_on()

    def stopProducing(self) -> None:
        """Do nothing: `connectionLost` follows."""

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes, and answer the requests."""
        self.resetTimeout()
        self._reader.feed(data)
        if not self._front.connections.may_hold(self.held):
            self._reader.refuse(503, "the bridge holds too many unfinished requests: try again")
        if self._reader.is_continued and not self._reader.has_all:
            self._reader.is_continued = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._go_on()

    def _go_on(self) -> None:
        """Answer the next request if the client takes data; read more if none waits."""
        waiting = self._reader.requests
        while waiting and not (self._current or self._paused or self._is_lost):
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
        request.is_last |= self._front.is_stopping
        if body is None:
            await self._write(request, answer)
        else:
            is_bare = answer.status in (204, 304)
            length = {} if is_bare else {"Content-Length": str(len(body))}
            request.sent = len(body)
            head = self._head(request, answer, length)
            self.transport.writeSequence([head] if request.method == "HEAD" else [head, body])
            # Send it now: this turn of the reactor may have to make answers for others.
            self.transport.doWrite()
            await self._wait_for_client()
        if self._is_lost:
            return
        self._front.ended(request)
        self._front.connections.use(self)
        self._current = None
        self.resetTimeout()
        if request.refusal is not None:
            # Closing while the client still sends resets the connection and loses the answer.
            self.callLater(LINGER, self.close)
        elif request.is_last or self._front.is_stopping:
            self.close()
        elif self._reader.requests:
            self.callLater(0, self._go_on)

    async def _write(self, request: Request, answer: Answer) -> None:
        """Write a long answer part by part, at the client's speed."""
        length = NONE if request.is_old else {"Transfer-Encoding": "chunked"}
        self.transport.write(self._head(request, answer, length))
        if request.method == "HEAD":
            return
        parts = answer.parts
        if not isinstance(parts, AsyncGenerator):
            parts = self._front.in_thread(parts)
        async with aclosing(parts):
            async for part in parts:
                if self._is_lost:
                    return
                request.sent += len(part)
                chunk = [part] if request.is_old else [b"%x\r\n" % len(part), part, b"\r\n"]
                self.transport.writeSequence(chunk)
                await self._wait_for_client()
        if not request.is_old:
            self.transport.write(b"0\r\n\r\n")

    async def _wait_for_client(self) -> None:
        """Wait until the client has taken all data; raises TimeoutError if it stalls."""
        if self._paused is not None:
            try:
                await self._paused.addTimeout(STALLED_AFTER, self._front.reactor)
            except defer.TimeoutError:
                raise TimeoutError(f"its client read nothing for {STALLED_AFTER:g} s") from None

    def _head(self, request: Request, answer: Answer, length: Mapping[str, str]) -> bytes:
        headers = {"Date": _date(int(time.time())), "Content-Type": "application/json"}
        headers |= {**request.cors, **answer.headers, **length}
        headers |= {"Connection": "close"} if request.is_last else {}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        status = HTTPStatus(answer.status)
        return f"HTTP/1.1 {status:d} {status.phrase}\r\n{lines}\r\n".encode()

    def _failed(self, failure: Any) -> None:
        if not self._is_lost:
            log.error("an answer could not be written: {why}", why=failure.getErrorMessage())
            # A broken-off connection tells the client that the answer is incomplete.
            self.transport.abortConnection()
