"""Serve HTTP: settings, access, CORS, errors, metrics and the log, once for all routes.

A page from anywhere may send requests to this computer. Its browser says in ``Origin`` where the
page is from, and in ``Host`` by which name it reached the server: that of the page's own domain, if
that domain says that it is at this computer's address (DNS rebinding).
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
from twisted.internet import defer, endpoints
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool

from sisock.bridge.answers import NOTICE, Answer, failure, failure_of
from sisock.bridge.app import call_wsgi
from sisock.bridge.http import Connection, Request
from sisock.connection.runtime import make_logger, make_pool
from sisock.connection.settings import find_secret, parse_port
from sisock.errors import SettingsError

THREADS = 32
"""Requests of Flask, and long answers, that are worked on at once; most wait for a node."""

BACKLOG = 1024
"""Connections that may come at once: 32 dashboards of ten panels bring 320."""

_DECISIVE = b"host", b"origin", b"authorization"

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Answer]]
"""Answers a request in the reactor; it is cancelled if the client leaves."""

log = make_logger()

HOSTS = frozenset({"sisock-http"})
"""The bridge's name in docker-compose.yml."""

ORIGINS = frozenset({"grafana", "grafana-latest"})
"""Those of its Grafanas."""

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
    """What a request must say to be let in.

    Hosts and origins are names or addresses, besides those of this computer, with any port. A
    request carries the bearer token, or `basic`, ``user:password``; either may be None.
    """

    hosts: frozenset[str] = HOSTS
    origins: frozenset[str] = ORIGINS
    token: str | None = field(default=None, repr=False)
    basic: str | None = field(default=None, repr=False)

    def decide(
        self,
        hosts: tuple[bytes, ...],
        origins: tuple[bytes, ...],
        signed: tuple[bytes, ...],
        is_preflight: bool,
        is_health: bool,
    ) -> tuple[Answer | None, Mapping[str, str]]:
        """Decide by the headers ``Host``, ``Origin`` and ``Authorization`` who is let in.

        Returns the answer to a request that is not let in, or to a CORS preflight, or else None;
        and the headers that tell a browser whether its page may read the answer.
        """
        named = [origin.decode("latin-1") for origin in origins]
        allowed = [origin for origin in named if self._allows(origin)]
        cors = {"Vary": "Origin", **(PREFLIGHT if is_preflight else CORS)}
        cors |= {"Access-Control-Allow-Origin": allowed[0]} if allowed else {}
        for authority in (host.decode("latin-1") for host in hosts):
            name = _name_of(authority)
            # Clients without a name, as of HTTP/1.0, are no browsers.
            if authority and not (name and (name in self.hosts or _is_loopback(name))):
                text = "this host name is not the bridge's: SISOCK_HTTP_HOSTS says which are"
                return failure(403, text, "host not allowed"), cors
        if len(allowed) < len(named):
            text = "pages of this origin may not ask: SISOCK_HTTP_ORIGINS says which may"
            return failure(403, text, "origin not allowed"), cors
        if is_preflight:
            return Answer([], 204), cors
        if is_health or self.is_authorized(signed[0].decode("latin-1") if signed else None):
            return None, cors
        text = "sign in with the bridge's token or password"
        authenticate = {"WWW-Authenticate": 'Basic realm="sisock"'}
        return failure(401, text, "unauthorized", authenticate), cors

    def is_authorized(self, authorization: str | None) -> bool:
        """Return whether a request with this ``Authorization`` header may pass."""
        expected = []
        if self.token is not None:
            expected.append((b"bearer", self.token.encode()))
        if self.basic is not None:
            expected.append((b"basic", base64.b64encode(self.basic.encode())))
        given = (authorization or "").encode("latin-1", "replace")
        scheme, _, credentials = given.strip().partition(b" ")
        return not expected or any(
            scheme.lower() == wanted and hmac.compare_digest(credentials.strip(), right)
            for wanted, right in expected
        )

    def _allows(self, origin: str) -> bool:
        scheme = _SCHEME.match(origin)
        name = _name_of(origin[scheme.end() :]) if scheme else None
        return name is not None and (name in self.origins or _is_loopback(name))


@dataclass(frozen=True)
class WebSettings:
    """Where the server listens, and whom it lets in."""

    bind: str
    port: int
    access: Access


def load_web_settings(environ: Mapping[str, str] = os.environ) -> WebSettings:
    """Read ``PORT``, ``BIND`` and what begins with ``SISOCK_HTTP_``.

    Raises SettingsError if a setting cannot be used.
    """
    port, bind = environ.get("PORT") or "5000", environ.get("BIND") or "127.0.0.1"
    basic = find_secret("SISOCK_HTTP_BASIC", environ).value
    if basic is not None and ":" not in basic:
        raise SettingsError("SISOCK_HTTP_BASIC must be of the form user:password")
    access = Access(
        HOSTS | {bind} | _parse_names("SISOCK_HTTP_HOSTS", environ),
        ORIGINS | _parse_names("SISOCK_HTTP_ORIGINS", environ),
        find_secret("SISOCK_HTTP_TOKEN", environ).value,
        basic,
    )
    return WebSettings(bind, parse_port(port, "PORT"), access)


def _parse_names(variable: str, environ: Mapping[str, str]) -> frozenset[str]:
    names = set()
    for word in environ.get(variable, "").replace(",", " ").split():
        name = _name_of(_SCHEME.sub("", word, count=1).rstrip("/"))
        if name is None:
            raise SettingsError(
                f"{variable} must hold names or addresses with spaces between them, not {word!r}"
            )
        names.add(name)
    return frozenset(names)


def _name_of(authority: str) -> str | None:
    """Return the host of ``host:port`` in lower case, or None if it is not of that form."""
    match = _AUTHORITY.fullmatch(authority)
    return match and match[1].strip("[]").rstrip(".").lower()


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Front(Factory):
    """Let requests in, hand each to its handler or else to a WSGI application, and count them.

    `handlers` are by method and path, `count` is given path, status and seconds.
    """

    noisy = False

    def __init__(
        self,
        application: Any,
        handlers: Mapping[tuple[str, str], Handler],
        count: Callable[[str, int, float], None],
        access: Access,
        reactor: Any,
        pool: Any = None,
    ) -> None:
        self._application, self._handlers, self._count = application, handlers, count
        # Nobody waits for the threads in the end: they may wait for the reactor, which is no more.
        self.reactor, self._pool = reactor, pool or make_pool("http", THREADS)
        self._decide = lru_cache(access.decide)  # clients repeat themselves

    async def listen(self, settings: WebSettings) -> None:
        """Take connections from now on; raises SettingsError."""
        endpoint = endpoints.TCP4ServerEndpoint(
            self.reactor, settings.port, backlog=BACKLOG, interface=settings.bind
        )
        try:
            await endpoint.listen(self)
        except Exception as error:
            where = f"{settings.bind}:{settings.port}"
            what = "end the program that has it, or set PORT or BIND"
            raise SettingsError(f"cannot listen on {where} ({error}): {what}") from None

    def buildProtocol(self, address: Any) -> Connection:
        """Take a client's connection."""
        return Connection(self, address.host)

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request, whatever it is."""
        path, is_preflight = request.path, request.method == "OPTIONS"
        said = *map(request.values, _DECISIVE), is_preflight, path == "/healthz"
        refused, request.cors = self._decide(*said)
        if (instead := request.refusal or refused) is not None:
            return instead
        handler = self._handlers.get((request.method, path))
        work = self.reactor, self._pool, call_wsgi, self._application, request
        try:
            made: Answer = await (handler(request) if handler else deferToThreadPool(*work))
            return made
        except defer.CancelledError:
            raise
        except Exception as error:
            return failure_of(error, path)

    async def in_thread(self, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Make each part in a thread, when the client has taken those before."""
        work = self.reactor, self._pool, next, parts, None
        try:
            while (part := await deferToThreadPool(*work)) is not None:
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()  # nothing else lets go of the samples for a while

    def ended(self, request: Request) -> None:
        """Count a request that is over, and write its line of JSON."""
        path, seconds = request.path, time.monotonic() - request.began
        self._count(path, request.status, seconds)
        # A health check every few seconds would drown the others.
        if path == "/healthz" and request.status == 200:
            return

        line = {
            "method": request.method,
            "path": path,  # without the query: a browser may have put a token there
            "status": request.status,
            "bytes": request.sent,
            "ms": round(seconds * 1e3, 1),
            "from": request.client,
        }
        # Made only if it is written.
        log.info("{entry()}", entry=lambda: orjson.dumps(line).decode())
