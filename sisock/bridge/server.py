"""An HTTP server for a WSGI application in the reactor: limits, access log and sign-in."""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from twisted.internet import defer, endpoints
from twisted.web.server import Request, Site
from twisted.web.wsgi import WSGIResource

from sisock.bridge.access import Access, load_access
from sisock.bridge.web_direct import DirectResource, Handler
from sisock.connection.logs import make_logger
from sisock.connection.settings import find_optional
from sisock.errors import SettingsError
from sisock.node.serving import make_pool

THREADS = 32
"""Requests that are worked on at once; each mostly waits for a node."""

BACKLOG = 1024
"""Connections that may come at once: 32 dashboards of ten panels bring 320."""

BODY_LIMIT = 1 << 20
"""Bytes of a request's body; those of a dashboard are a few thousand."""


KEEP_ALIVE = 120
"""Seconds that an idle connection stays: longer than the 90 of Grafana's own client, which else
could send a request into a connection that is just being closed."""


GIVEN_UP = 499
"""What the log says of a request whose client went before it was answered, as nginx does."""

LINGER = 1.0
"""Seconds for which the rest of a refused body is dropped before the connection is closed."""


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
    access : Access
        By which names, and to pages from where, it answers.
    """

    bind: str
    port: int
    token: str | None
    basic: str | None
    access: Access = field(default_factory=Access)

    def __repr__(self) -> str:
        return f"<WebSettings {self.bind}:{self.port}>"


def load_web_settings(environ: Mapping[str, str] | None = None) -> WebSettings:
    """Read ``PORT``, ``BIND`` and what begins with ``SISOCK_HTTP_``.

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
    bind = environ.get("BIND") or "127.0.0.1"
    return WebSettings(
        bind=bind,
        port=int(port),
        token=find_optional("SISOCK_HTTP_TOKEN", environ),
        basic=basic,
        access=load_access(bind, environ),
    )


def is_let_in(settings: WebSettings, authorization: str | None) -> bool:
    """Whether a request with this ``Authorization`` header may pass."""
    expected = []
    if settings.token is not None:
        expected.append((b"bearer", settings.token.encode()))
    if settings.basic is not None:
        expected.append((b"basic", base64.b64encode(settings.basic.encode())))
    if not expected:
        return True
    # WSGI hands bytes over as the characters of latin-1.
    given = (authorization or "").encode("latin-1", "replace")
    scheme, _, credentials = given.strip().partition(b" ")
    return any(
        scheme.lower() == wanted and hmac.compare_digest(credentials.strip(), right)
        for wanted, right in expected
    )


class _LimitedRequest(Request):
    """A request whose body may not be larger than the limit, announced or not."""

    _received = 0
    _refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.began = time.monotonic()

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
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:
        # A client may have the whole answer, and go, before the thread says that this was all.
        # One that is cut off before it has all come has no path yet.
        if not self._refused and self.path is not None:
            if not self.startedWriting:
                self.code = GIVEN_UP
            self.channel.factory.log(self)
        super().connectionLost(reason)

    def _refuse(self) -> None:
        self._refused = True
        body = orjson.dumps(
            {"message": f"the body is over {BODY_LIMIT} bytes", "error": "body too large"}
        )
        head = (
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        )
        cors = self.channel.factory.access.cors(self.requestHeaders, self.channel._command)
        head += b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in cors.items())
        self.channel.transport.write(head + b"\r\n" + body)
        # The request is not complete: only the channel knows as yet what it is.
        self.method, self.path = self.channel._command, self.channel._path.split(b"?")[0]
        self.code, self.sentLength = 413, len(body)
        self.channel.factory.log(self)
        # A connection that is closed while the client still sends is reset, and the answer lost.
        self.channel.callLater(LINGER, self.channel.loseConnection)


class _Site(Site):
    """Refuses what may not ask, and writes one line of JSON a request."""

    def __init__(
        self,
        resource: Any,
        direct: Mapping[tuple[bytes, bytes], Handler],
        access: Access,
        reactor: Any,
        pool: Any,
    ) -> None:
        # A form is no better than other bodies, and a broken one would get an answer without JSON.
        super().__init__(resource, _LimitedRequest, parsePOSTFormSubmission=False)
        self.timeOut = KEEP_ALIVE
        self.noisy = False
        self.access = access
        self._log = make_logger()
        self._in_reactor = lambda handler: DirectResource(handler, reactor, pool)
        self._direct = {key: self._in_reactor(handler) for key, handler in direct.items()}

    def getResourceFor(self, request: Any) -> Any:
        headers = request.requestHeaders
        for name, value in self.access.cors(headers, request.method).items():
            request.setHeader(name, value)
        refused = self.access.refusal(headers)
        if refused is not None:
            return self._in_reactor(lambda _: defer.succeed(refused))
        direct = self._direct.get((request.method, unquote_to_bytes(request.path)))
        return super().getResourceFor(request) if direct is None else direct

    def log(self, request: Any) -> None:
        # A health check every few seconds would drown the others.
        if request.path == b"/healthz" and request.code == 200:
            return
        entry = {
            "method": request.method.decode("ascii", "replace"),
            # Without the query: a browser may have put a token there.
            "path": request.path.decode("utf-8", "replace"),
            "status": request.code,
            "bytes": request.sentLength,
            "ms": round((time.monotonic() - request.began) * 1e3, 1),
            "from": request.getClientAddress().host,
        }
        self._log.info("{entry}", entry=orjson.dumps(entry).decode())


def _terminated(application: Any) -> Any:
    """Tell the application that a body ends where it ends, also one in chunks, without length."""

    def run(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.input_terminated"] = True
        return application(environ, start_response)

    return run


async def serve(
    application: Any,
    settings: WebSettings,
    reactor: Any,
    direct: Mapping[tuple[bytes, bytes], Handler],
) -> Any:
    """Listen, and run the application's requests in threads.

    Parameters
    ----------
    application : callable
        Of WSGI.
    settings : WebSettings
        Where to listen.
    direct : mapping
        By method and path what is answered in the reactor instead.

    Returns
    -------
    twisted port

    Raises
    ------
    SettingsError
        If the address cannot be listened on.
    """
    # Nobody waits for the threads in the end: they may wait for the reactor, which is no more.
    pool = make_pool("http", THREADS)
    resource = WSGIResource(reactor, pool, _terminated(application))
    site = _Site(resource, direct, settings.access, reactor, pool)
    endpoint = endpoints.TCP4ServerEndpoint(
        reactor, settings.port, backlog=BACKLOG, interface=settings.bind
    )
    try:
        return await endpoint.listen(site)
    except Exception as error:
        raise SettingsError(
            f"cannot listen on {settings.bind}:{settings.port} ({error}): end the program that has"
            " it, or set PORT or BIND"
        ) from None
