"""Query a server for JSON over HTTP, with persistent connections."""

from __future__ import annotations

import base64
import http.client
import math
import ssl
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from sisock.errors import SisockError

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 60.0
"""Seconds to wait for a connection, and for the next part of an answer."""

MAX_LINE = 1 << 28  # largest size of a line of an answer, in bytes


class JsonServer:
    """Query a server at an address such as ``https://host:9090/path``, optionally with a user.

    Raises SisockError for an invalid address or file of certificates; requests raise
    ConnectionError or ValueError. No message contains the password.
    """

    def __init__(
        self, url: str, user: str | None, password: str | None, ca_file: Path | None
    ) -> None:
        try:
            parts = urlsplit(url)
            self._address = parts.hostname or "", parts.port
        except ValueError as error:
            raise SisockError(f"{url!r} is not an address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise SisockError(f"{url!r} is not an address such as http://host:8086, without a user")
        self._path, self._tls, self._headers = parts.path.rstrip("/"), None, {}
        self.where = parts.netloc
        if parts.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise SisockError(f"cannot read the certificates in {ca_file}: {error}") from None
        if user is not None:
            encoded = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def ask(self, path: str, values: Mapping[str, Any] | None = None) -> Any:
        """Return the first line of the answer to a request."""
        return next(self.answers(path, values))

    def answers(self, path: str, values: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Send a request, POST if there are `values`; yield the lines of JSON of the answer.

        A server's error message in JSON is yielded, too.
        """
        connection, response = self._request(path, values)
        is_complete = False
        try:
            if not 200 <= response.status < 300:
                yield self._read_error(response)
            while line := response.readline(MAX_LINE):
                if line.strip():
                    yield orjson.loads(line)
            is_complete = True
        except orjson.JSONDecodeError:
            raise ValueError(f"{self.where} does not answer with JSON: see --url") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(error) from error
        finally:
            if is_complete and not response.will_close:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()

    def _request(
        self, path: str, values: Mapping[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request; reconnect if the server has closed an idle connection."""
        method, body = "GET", None
        headers = dict(self._headers)
        if values is not None:
            method, body = "POST", urlencode(values, doseq=True)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            connection = idle or self._make_connection()
            try:
                if idle is None:
                    connection.connect()
                    connection.sock.settimeout(READ_TIMEOUT)
                connection.request(method, self._path + path, body, headers)
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if idle is None or isinstance(error, TimeoutError):
                    raise self._failure(error) from error

    def _make_connection(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT, context=self._tls)

    def _failure(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"{self.where}: {error or type(error).__name__}")

    def _read_error(self, response: http.client.HTTPResponse) -> Any:
        """Return the JSON of a failed request; raise ConnectionError if it has none."""
        body = response.read()
        if response.status not in (401, 407):
            try:
                return orjson.loads(body)
            except orjson.JSONDecodeError:
                pass
        flags = "--user and the password" if response.status in (401, 403, 407) else "--url"
        raise ConnectionError(f"{self.where}: {response.status} {response.reason}: see {flags}")


def quote(text: str, mark: str = '"') -> str:
    """Quote a text for InfluxQL or PromQL; in InfluxQL the mark of a value is ``'``."""
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), (mark, f"\\{mark}")):
        text = text.replace(plain, escaped)
    return f"{mark}{text}{mark}"


def first_tick(t: float, per_second: int) -> int:
    """Return the first tick since 1970 of a server's clock that, as a float, is not before `t`."""
    first = math.ceil((Fraction(t) - Fraction(math.ulp(t)) / 2) * per_second)
    while first / per_second < t:
        first += 1
    return first
