"""Serve HTTP: settings, access, CORS, errors, metrics and the log, in one place for all routes.

Any web page can make its visitor's browser send requests to this server. The browser's ``Origin``
header names the page's origin, so others are rejected. With DNS rebinding a page's domain resolves
to this computer and the request looks local, but its ``Host`` header then names that domain.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import os
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from twisted.internet import defer, endpoints, task
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool

from sisock.bridge.answers import NOTICE, RETRY_AFTER, Answer, failure, failure_of
from sisock.bridge.app import ROUTES, TILES, call_flask
from sisock.bridge.http import Connection, Request
from sisock.bridge.metrics import Crowd
from sisock.connection.runtime import make_logger, make_pool
from sisock.connection.settings import find_secret, find_setting, parse_port
from sisock.errors import SettingsError
from sisock.wire.times import counted

THREADS = 8  # long answers that are written at once

BACKLOG = 1024
"""Connections that may wait to be accepted: 32 dashboards of ten panels open 320 at once."""

NOTICE_SECONDS = 3.0
"""Seconds for a load balancer to notice that the bridge stops; until then it answers requests."""

WATCHED_WITHIN = 10.0
"""Seconds; a balancer watches the bridge if ``/readyz`` was 200 twice within this time."""

HEALTHZ, READYZ = "/healthz", "/readyz"  # paths that need no login, and are answered until the end

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Answer]]
"""Answers a request in the reactor; it is cancelled if the client disconnects."""

log = make_logger()

HOSTS = frozenset({"sisock-http"})  # host names of the bridge in docker-compose.yml
ORIGINS = frozenset({"grafana", "grafana-latest"})  # host names of Grafana in docker-compose.yml

CORS = {"Access-Control-Expose-Headers": NOTICE}

PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}
"""Headers of the answer to a CORS preflight."""

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/:@\[\]]+)(?::\d*)?", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """Decide which requests are allowed.

    Hosts and origins are names or addresses, in addition to those of this computer, with any port.
    If `token`, or `basic` as ``user:password``, is given, requests need one of them.
    """

    hosts: frozenset[str] = HOSTS
    origins: frozenset[str] = ORIGINS
    token: str | None = field(default=None, repr=False)
    basic: str | None = field(default=None, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether requests need no credentials."""
        return self.token is None and self.basic is None

    def decide(self, request: Request) -> Answer | None:
        """Return the answer to a rejected request or a CORS preflight; None if others answer.

        Sets the CORS headers of the answer, which tell a browser whether its page may read it.
        """
        is_preflight = request.method == "OPTIONS"
        allowed = [origin for origin in request.origins if self._allows(origin)]
        request.cors = {"Vary": "Origin", **(PREFLIGHT if is_preflight else CORS)}
        request.cors |= {"Access-Control-Allow-Origin": allowed[0]} if allowed else {}
        for authority in request.values("host"):
            name = _name_of(authority)
            # A request without a host, as in HTTP/1.0, does not come from a browser.
            if authority and not (name and (name in self.hosts or _is_loopback(name))):
                text = "the bridge does not accept this host name: add it to SISOCK_HTTP_HOSTS"
                return failure(403, text, "host not allowed")
        if len(allowed) < len(request.origins):
            text = "pages of this origin have no access: add the origin to SISOCK_HTTP_ORIGINS"
            return failure(403, text, "origin not allowed")
        if is_preflight:
            return Answer([], 204)
        authorization = next(iter(request.values("authorization")), None)
        if request.path in (HEALTHZ, READYZ) or self.is_authorized(authorization):
            return None
        text = "sign in with the bridge's token or password"
        authenticate = {"WWW-Authenticate": 'Basic realm="sisock"'}
        return failure(401, text, "unauthorized", authenticate)

    def is_authorized(self, authorization: str | None) -> bool:
        """Return whether an ``Authorization`` header has the right credentials, if any are set."""
        expected = []
        if self.token is not None:
            expected.append((b"bearer", self.token.encode()))
        if self.basic is not None:
            expected.append((b"basic", base64.b64encode(self.basic.encode())))
        given = (authorization or "").encode("latin-1", "replace")
        scheme, _, credentials = given.strip().partition(b" ")
        return self.is_open or any(
            scheme.lower() == wanted and hmac.compare_digest(credentials.strip(), secret)
            for wanted, secret in expected
        )

    def _allows(self, origin: str) -> bool:
        scheme = _SCHEME.match(origin)
        name = _name_of(origin[scheme.end() :]) if scheme else None
        return name is not None and (name in self.origins or _is_loopback(name))


@dataclass(frozen=True)
class WebSettings:
    """Hold where the server listens, and which requests are allowed."""

    bind: str
    port: int
    access: Access


def load_web_settings() -> WebSettings:
    """Read ``PORT``, ``BIND`` and the variables ``SISOCK_HTTP_…``.

    Raises SettingsError if a setting is invalid.
    """
    port, bind = find_setting("PORT"), find_setting("BIND")
    basic = find_secret("SISOCK_HTTP_BASIC").value
    if basic is not None and ":" not in basic:
        raise SettingsError("SISOCK_HTTP_BASIC must be of the form user:password")
    access = Access(
        HOSTS | {bind} | _parse_names("SISOCK_HTTP_HOSTS"),
        ORIGINS | _parse_names("SISOCK_HTTP_ORIGINS"),
        find_secret("SISOCK_HTTP_TOKEN").value,
        basic,
    )
    return WebSettings(bind, parse_port(port, "PORT"), access)


def _parse_names(variable: str) -> frozenset[str]:
    names = set()
    for word in os.environ.get(variable, "").replace(",", " ").split():
        name = _name_of(_SCHEME.sub("", word, count=1).rstrip("/"))
        if name is None:
            raise SettingsError(
                f"{variable} must be names or addresses separated by spaces, not {word!r}"
            )
        names.add(name)
    return frozenset(names)


def _name_of(authority: str) -> str | None:
    """Return the host of ``host:port`` in lower case, or None if the form is wrong."""
    match = _AUTHORITY.fullmatch(authority)
    return match and match[1].strip("[]").rstrip(".").lower()


def _route(path: str) -> str:
    """Return the route of a path: all tiles have the same, and so have all unknown paths."""
    if path.startswith(TILES):
        return TILES
    return path if path in ROUTES else "other"


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Front(Factory):
    """Check access, pass requests to their handlers, count and log them.

    `handlers` are by method and route; other requests go to the Flask `app`. `count` is called with
    route, status and seconds.
    """

    noisy = False

    def __init__(
        self,
        app: Any,
        handlers: Mapping[tuple[str, str], Handler],
        count: Callable[[str, int, float], None],
        access: Access,
        reactor: Any,
        pool: Any = None,
    ) -> None:
        self._app, self._handlers, self._count = app, handlers, count
        self.reactor, self._pool = reactor, pool or make_pool("http", THREADS)
        self._access = access
        self.connections = Crowd()
        self.is_stopping = self._is_refusing = False
        self._ready_at: deque[float] = deque(maxlen=2)
        self._port: Any = None

    async def listen(self, settings: WebSettings) -> None:
        """Begin to accept connections; raises SettingsError if the port cannot be used."""
        endpoint = endpoints.TCP4ServerEndpoint(
            self.reactor, settings.port, backlog=BACKLOG, interface=settings.bind
        )
        try:
            self._port = await endpoint.listen(self)
        except Exception as error:
            where = f"{settings.bind}:{settings.port}"
            advice = "stop the program that uses it, or set PORT or BIND"
            raise SettingsError(f"cannot listen on {where} ({error}): {advice}") from None

    def buildProtocol(self, address: Any) -> Connection | None:
        """Return the protocol for a client's connection; None if all places are taken."""
        return Connection(self, address.host) if self.connections.has_room() else None

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request; errors are answers, too."""
        path, rejected = request.path, self._access.decide(request)
        if (early := request.refusal or rejected or self._refuse(path)) is not None:
            return early
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._handlers.get((method, _route(path)))
        try:
            answer = await (handler(request) if handler else call_flask(self._app, request))
            return answer if self._access.is_open else answer.private()
        except defer.CancelledError:
            raise
        except Exception as error:
            return failure_of(error, path)

    def _refuse(self, path: str) -> Answer | None:
        is_meant = path == READYZ or (self._is_refusing and path != HEALTHZ)
        if not (self.is_stopping and is_meant):
            return None
        text = "this bridge is stopping: ask another one, or try again"
        return failure(503, text, "stopping", {"Retry-After": RETRY_AFTER})

    async def drain(self, seconds: float) -> None:
        """Finish the requests under way, within some seconds, and close all connections.

        New requests are refused; if a balancer watches the bridge, only after it could notice.
        """
        now = self.reactor.seconds()
        is_watched = len(self._ready_at) == 2 and now - self._ready_at[0] < WATCHED_WITHIN
        self.is_stopping = True
        if is_watched:
            await task.deferLater(self.reactor, min(NOTICE_SECONDS, seconds / 2))
        self._is_refusing = True
        await self._wait_until(lambda: not self._busy(), now + seconds)
        if self._port is not None:
            await self._port.stopListening()
        if unfinished := self._busy():
            requests = counted(unfinished, "request")
            log.warn("not finished in {s:g} s: {requests}", s=seconds, requests=requests)
        for connection in self.connections:
            connection.close()
        await self._wait_until(lambda: not self.connections, now + seconds)

    def _busy(self) -> int:
        return sum(connection.is_busy for connection in self.connections)

    async def _wait_until(self, is_done: Callable[[], bool], deadline: float) -> None:
        while not is_done() and self.reactor.seconds() < deadline:
            await task.deferLater(self.reactor, 0.05)

    async def in_thread(self, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Make each part in a thread, once the client has taken the previous one."""
        next_part = self.reactor, self._pool, next, parts, None
        try:
            while (part := await deferToThreadPool(*next_part)) is not None:
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()  # frees the samples at once

    def ended(self, request: Request) -> None:
        """Count a finished request, and log it as a line of JSON."""
        path, seconds = request.path, time.monotonic() - request.began
        self._count(_route(path), request.status, seconds)
        # Health checks every few seconds would drown the other lines.
        if path in (HEALTHZ, READYZ) and request.status == 200:
            self._ready_at += [self.reactor.seconds()] if path == READYZ else []
            return
        line = {
            "method": request.method,
            "path": path,  # without the query: a browser may have put a token there
            "status": request.status,
            "bytes": request.sent,
            "ms": round(seconds * 1e3, 1),
            "from": request.client,
        }
        # Serialized only if the level is logged.
        log.info("{entry()}", entry=lambda: orjson.dumps(line).decode())
