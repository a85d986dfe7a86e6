"""Hear what is published on a router other than sisock's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp import types
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer
from autobahn.websocket.util import parse_url
from twisted.internet import defer, endpoints
from twisted.python.failure import Failure

from sisock.connection.session import SteadySession
from sisock.connection.transport import CONNECT_TIMEOUT, ClientProtocol, TolerantSerializer
from sisock.errors import SisockError


def parse_address(url: str) -> tuple[str, int]:
    """Return host and port of a router; SisockError says that it has no ``ws://`` address."""
    try:
        is_secure, host, port, *_ = parse_url(url)
    except Exception as error:  # autobahn raises a plain one
        raise SisockError(f"{url!r} is no address such as ws://host:8001/ws: {error}") from None
    if is_secure:
        raise SisockError(f"{url!r}: only ws:// is supported, without TLS")
    return host, port


class Listener(SteadySession):
    """A session without a secret that subscribes to topics; empty parts of one stand for any.

    `hear` is called with the arguments of each event, and `joined` when it has subscribed.
    """

    def __init__(
        self, realm: str, topic: str, hear: Callable[..., None], joined: Callable[[], None]
    ) -> None:
        super().__init__(types.ComponentConfig(realm))
        self._topic, self._hear, self._joined = topic, hear, joined
        self._ended: defer.Deferred = defer.Deferred()

    async def listen(self, reactor: Any, url: str) -> None:
        """Connect, and stay until the connection ends; ConnectionError says why."""
        host, port = parse_address(url)
        factory = WampWebSocketClientFactory(
            lambda: self,
            url=url,
            serializers=[TolerantSerializer(), MsgPackSerializer(), JsonSerializer()],
        )
        factory.protocol, factory.noisy, factory.on_lost = ClientProtocol, False, self._end
        limits = {"maxMessagePayloadSize": 0, "maxFramePayloadSize": 0}
        factory.setProtocolOptions(**limits, openHandshakeTimeout=CONNECT_TIMEOUT)
        endpoint = endpoints.HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
        try:
            connecting = endpoint.connect(factory)
            connecting.addErrback(self._end)
            why = await self._ended
        finally:
            self.disconnect()
        raise ConnectionError(f"{url}: {why}")

    async def onJoin(self, details: types.SessionDetails) -> None:
        """Subscribe."""
        try:
            await self.subscribe(self._hear, self._topic, types.SubscribeOptions("wildcard"))
        except ApplicationError as error:
            self._end(f"{self._topic!r} cannot be subscribed to: {error.error_message()}")
            return
        self._joined()

    def onLeave(self, details: types.CloseDetails) -> None:
        """Note why the router ends the session; of a lost connection Twisted says more."""
        if details.reason != types.CloseDetails.REASON_TRANSPORT_LOST:
            self._end(f"{details.reason}: {details.message}")

    def _end(self, why: Any) -> None:
        if not self._ended.called:
            text = why.getErrorMessage() if isinstance(why, Failure) else str(why)
            self._ended.callback(text)
