"""An HTTP server for a WSGI application in the reactor: limits, access log and sign-in."""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from twisted.internet import endpoints
from twisted.python.threadpool import ThreadPool
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site
from twisted.web.wsgi import WSGIResource

from sisock.errors import SettingsError
from sisock.logs import make_logger
from sisock.settings import find_optional

THREADS = 32
"""Requests that are worked on at once; each mostly waits for a node."""

BODY_LIMIT = 1 << 20
"""Bytes of a request's body; those of a dashboard are a few thousand."""


@dataclass(frozen=True)
class WebSettings:
    """Where the server listens and whom it lets in.

    Attributes
    ----------
    bind : str
        Address.
    port : int
    token : str or None
        Bearer token that requests must carry.
    basic : str or None
        ``user:password`` that they may carry instead.
    """

    bind: str
    port: int
    token: str | None
    basic: str | None

    def __repr__(self) -> str:
        return f"<WebSettings {self.bind}:{self.port}>"


def load_web_settings(environ: Mapping[str, str] | None = None) -> WebSettings:
    """Read ``PORT``, ``BIND``, ``SISOCK_HTTP_TOKEN`` and ``SISOCK_HTTP_BASIC``.

    Raises
    ------
    SettingsError
        If one cannot be used.
    """
    environ = os.environ if environ is None else environ
    port = environ.get("PORT") or "5000"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingsError(f"PORT must be a port from 1 to 65535, not {port!r}")
    basic = find_optional("SISOCK_HTTP_BASIC", environ)
    if basic is not None and ":" not in basic:
        raise SettingsError("SISOCK_HTTP_BASIC must be of the form user:password")
    return WebSettings(
        bind=environ.get("BIND") or "127.0.0.1",
        port=int(port),
        token=find_optional("SISOCK_HTTP_TOKEN", environ),
        basic=basic,
    )


def is_let_in(settings: WebSettings, authorization: str | None) -> bool:
    """Whether a request with this ``Authorization`` header may pass."""
    expected = []
    if settings.token is not None:
        expected.append(f"Bearer {settings.token}")
    if settings.basic is not None:
        expected.append("Basic " + base64.b64encode(settings.basic.encode()).decode())
    if not expected:
        return True
    given = (authorization or "").encode()
    return any(hmac.compare_digest(given, each.encode()) for each in expected)


class _LimitedRequest(Request):
    """A request whose body may not be larger than the limit, announced or not."""

    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > BODY_LIMIT and not self._refused:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        self._refused = True
        body = orjson.dumps(
            {"message": f"the body is over {BODY_LIMIT} bytes", "error": "body too large"}
        )
        head = (
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        self.channel.transport.write(head + body)
        self.channel.loseConnection()


class _Site(Site):
    """Writes one line of JSON a request."""

    def __init__(self, resource: Any) -> None:
        super().__init__(resource, requestFactory=_LimitedRequest)
        self.timeOut = 60
        self._log = make_logger()

    def log(self, request: Any) -> None:
        entry = {
            "method": request.method.decode("ascii", "replace"),
            # Without the query: a browser may have put a token there.
            "path": request.path.decode("utf-8", "replace"),
            "status": request.code,
            "bytes": request.sentLength,
            "ms": round((time.monotonic() - request.channel.began) * 1e3, 1),
            "from": request.getClientAddress().host,
        }
        self._log.info("{entry}", entry=orjson.dumps(entry).decode())


class _Channel(HTTPChannel):
    """Notes when a request begins."""

    began = 0.0

    def lineReceived(self, line: bytes) -> None:
        if not self.requests:
            self.began = time.monotonic()
        super().lineReceived(line)


async def serve(application: Any, settings: WebSettings, reactor: Any) -> Any:
    """Listen, and run the application's requests in threads.

    Parameters
    ----------
    application : callable
        Of WSGI.

    Returns
    -------
    twisted port

    Raises
    ------
    SettingsError
        If the address cannot be listened on.
    """
    pool = ThreadPool(minthreads=1, maxthreads=THREADS, name="sisock-http")
    pool.start()
    reactor.addSystemEventTrigger("after", "shutdown", pool.stop)
    site = _Site(WSGIResource(reactor, pool, application))
    site.protocol = _Channel
    endpoint = endpoints.TCP4ServerEndpoint(reactor, settings.port, interface=settings.bind)
    try:
        return await endpoint.listen(site)
    except Exception as error:
        raise SettingsError(
            f"cannot listen on {settings.bind}:{settings.port} ({error}): end the program that has"
            " it, or set PORT or BIND"
        ) from None
