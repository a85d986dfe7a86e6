"""Which requests of browsers are answered, by their ``Host`` and ``Origin``.

A page from anywhere may send requests to this computer. Its browser says in ``Origin`` where the
page is from, and in ``Host`` by which name it reached the server: that of the page's own domain, if
that domain says that it is at this computer's address (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from twisted.web.http_headers import Headers

from sisock.bridge.web_answer import CORS, PREFLIGHT, Answer, failure
from sisock.errors import SettingsError

HOSTS = frozenset({"sisock-http"})
"""The bridge's name in docker-compose.yml."""

ORIGINS = frozenset({"grafana", "grafana-latest"})
"""Those of its Grafanas."""

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/:@\[\]]+)(?::\d*)?", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


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


@dataclass(frozen=True)
class Access:
    """The hosts and origins that are allowed, besides those of this computer; any port.

    Attributes
    ----------
    hosts, origins : frozenset of str
        Names or addresses.
    """

    hosts: frozenset[str] = HOSTS
    origins: frozenset[str] = ORIGINS

    def refusal(self, headers: Headers) -> Answer | None:
        """Return the answer to a request that is not let in, or None."""
        for authority in _values(headers, "host"):
            name = _name_of(authority)
            # What has no name, as a client of HTTP/1.0, is no browser.
            if authority and not (name and (name in self.hosts or _is_loopback(name))):
                text = "this host name is not the bridge's: SISOCK_HTTP_HOSTS says which are"
                return failure(403, text, "host not allowed")
        if not all(map(self._allows, _values(headers, "origin"))):
            text = "pages of this origin may not ask: SISOCK_HTTP_ORIGINS says which may"
            return failure(403, text, "origin not allowed")
        return None

    def cors(self, headers: Headers, method: bytes) -> dict[str, str]:
        """Return the headers that tell a browser whether its page may read the answer."""
        allowed = [origin for origin in _values(headers, "origin") if self._allows(origin)]
        given = {"Access-Control-Allow-Origin": allowed[0]} if allowed else {}
        return {"Vary": "Origin", **given, **(PREFLIGHT if method == b"OPTIONS" else CORS)}

    def _allows(self, origin: str) -> bool:
        scheme = _SCHEME.match(origin)
        name = _name_of(origin[scheme.end() :]) if scheme else None
        return name is not None and (name in self.origins or _is_loopback(name))


def _values(headers: Headers, name: str) -> list[str]:
    return [value.decode("latin-1") for value in headers.getRawHeaders(name.encode()) or ()]


def load_access(bind: str, environ: Mapping[str, str]) -> Access:
    """Read ``SISOCK_HTTP_HOSTS`` and ``SISOCK_HTTP_ORIGINS``, which add to the defaults.

    Parameters
    ----------
    bind : str
        The address that the server listens on, by which it may be reached too.

    Raises
    ------
    SettingsError
        If one cannot be used.
    """
    return Access(
        HOSTS | {bind} | _parse_names("SISOCK_HTTP_HOSTS", environ),
        ORIGINS | _parse_names("SISOCK_HTTP_ORIGINS", environ),
    )
