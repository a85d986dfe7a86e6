"""Subscribe to topics on a router other than sisock's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.wamp import types
from autobahn.wamp.exception import ApplicationError
from autobahn.websocket.util import parse_url
from twisted.internet import defer, endpoints
from twisted.python.failure import Failure

from sisock.connection.session import SteadySession
from sisock.connection.transport import CONNECT_TIMEOUT, make_factory
from sisock.errors import SisockError


def parse_address(url: str) -> tuple[str, int]:
    """Return host and port of a ``ws://`` address; raises SisockError for any other."""
    try:
        is_secure, host, port, *_ = parse_url(url)
    except Exception as error:  # autobahn raises plain Exceptions
        raise SisockError(f"{url!r} is not an address such as ws://host:8001/ws: {error}") from None
    if is_secure:
        raise SisockError(f"{url!r}: only ws:// is supported, without TLS")
    return host, port


class Listener(SteadySession):
    """Subscribe to topics in an anonymous session; empty parts of `topic` match anything.

    `on_event` is called with the arguments of each event, `on_subscribed` after subscribing.
    """

    def __init__(
        self,
        realm: str,
        topic: str,
        on_event: Callable[..., None],
        on_subscribed: Callable[[], None],
    ) -> None:
        super().__init__(types.ComponentConfig(realm))
        self._topic, self._on_event, self._on_subscribed = topic, on_event, on_subscribed
        self._ended: defer.Deferred = defer.Deferred()

    async def listen(self, reactor: Any, url: str) -> None:
        """Connect, and wait until the connection ends; raises ConnectionError with the reason."""
        host, port = parse_address(url)
        factory = make_factory(url, self, self._end)
        endpoint = endpoints.HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
        try:
            connecting = endpoint.connect(factory)
            connecting.addErrback(self._end)
            why = await self._ended
        finally:
            self.disconnect()
        raise ConnectionError(f"{url}: {why}")

    async def onJoin(self, details: types.SessionDetails) -> None:
        """Subscribe to the topic."""
        try:
            await self.subscribe(self._on_event, self._topic, types.SubscribeOptions("wildcard"))
        except ApplicationError as error:
            self._end(f"{self._topic!r} cannot be subscribed to: {error.error_message()}")
            return
        self._on_subscribed()

    def onLeave(self, details: types.CloseDetails) -> None:
        """Keep the router's reason for ending the session; a lost connection has a better one."""
        if details.reason != types.CloseDetails.REASON_TRANSPORT_LOST:
            self._end(f"{details.reason}: {details.message}")

    def _end(self, why: Any) -> None:
        if not self._ended.called:
            text = why.getErrorMessage() if isinstance(why, Failure) else str(why)
            self._ended.callback(text)
