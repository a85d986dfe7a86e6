"""Decide which HTTP requests are let in: by ``Host``, ``Origin`` and ``Authorization``.

A page from anywhere may send requests to this computer. Its browser says in ``Origin`` where the
page is from, and in ``Host`` by which name it reached the server: that of the page's own domain, if
that domain says that it is at this computer's address (DNS rebinding).
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from twisted.web.http_headers import Headers

from sisock.bridge.answers import NOTICE, Answer, failure
from sisock.connection.settings import find_secret
from sisock.errors import SettingsError

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

    def refusal(self, headers: Headers, method: bytes, path: bytes) -> Answer | None:
        """Return the answer to a request that is not let in, or to a CORS preflight, or None."""
        for authority in _values(headers, "host"):
            name = _name_of(authority)
            # Clients without a name, as of HTTP/1.0, are no browsers.
            if authority and not (name and (name in self.hosts or _is_loopback(name))):
                text = "this host name is not the bridge's: SISOCK_HTTP_HOSTS says which are"
                return failure(403, text, "host not allowed")
        if not all(map(self._allows, _values(headers, "origin"))):
            text = "pages of this origin may not ask: SISOCK_HTTP_ORIGINS says which may"
            return failure(403, text, "origin not allowed")
        if method == b"OPTIONS":
            return Answer([], 204)
        authorization = next(iter(_values(headers, "authorization")), None)
        if path == b"/healthz" or self.is_authorized(authorization):
            return None
        text = "sign in with the bridge's token or password"
        return failure(401, text, "unauthorized", {"WWW-Authenticate": 'Basic realm="sisock"'})

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

    def cors(self, headers: Headers, method: bytes) -> dict[str, str]:
        """Return the headers that tell a browser whether its page may read the answer."""
        allowed = [origin for origin in _values(headers, "origin") if self._allows(origin)]
        given = {"Access-Control-Allow-Origin": allowed[0]} if allowed else {}
        return {"Vary": "Origin", **given, **(PREFLIGHT if method == b"OPTIONS" else CORS)}

    def _allows(self, origin: str) -> bool:
        scheme = _SCHEME.match(origin)
        name = _name_of(origin[scheme.end() :]) if scheme else None
        return name is not None and (name in self.origins or _is_loopback(name))


def load_access(bind: str, environ: Mapping[str, str]) -> Access:
    """Read what begins with ``SISOCK_HTTP_``; `bind` is a name of the bridge too.

    Raises SettingsError if a setting cannot be used.
    """
    basic = find_secret("SISOCK_HTTP_BASIC", environ).value
    if basic is not None and ":" not in basic:
        raise SettingsError("SISOCK_HTTP_BASIC must be of the form user:password")
    return Access(
        HOSTS | {bind} | _parse_names("SISOCK_HTTP_HOSTS", environ),
        ORIGINS | _parse_names("SISOCK_HTTP_ORIGINS", environ),
        find_secret("SISOCK_HTTP_TOKEN", environ).value,
        basic,
    )


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


@lru_cache
def _name_of(authority: str) -> str | None:
    """Return the host of ``host:port`` in lower case, or None if it is not of that form."""
    match = _AUTHORITY.fullmatch(authority)
    return match and match[1].strip("[]").rstrip(".").lower()


@lru_cache
def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _values(headers: Headers, name: str) -> list[str]:
    return [value.decode("latin-1") for value in headers.getRawHeaders(name.encode()) or ()]
