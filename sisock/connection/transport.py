"""The WebSocket under a session: TLS, Unix socket, pings, and why a connection ended."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from typing import Any

from autobahn.twisted.websocket import (
    WampWebSocketClientFactory,
    WampWebSocketClientProtocol,
)
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import endpoints, error
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from sisock.connection.logs import DemotedLogger
from sisock.connection.session import TolerantSerializer
from sisock.connection.settings import Settings
from sisock.connection.tls import make_tls_endpoint
from sisock.errors import RouterUnreachable

PING_INTERVAL = 5
PING_TIMEOUT = 8
"""Seconds; as the router's own, so that either side notices a vanished network within 15 s."""

CONNECT_TIMEOUT = 10


LOCAL_BYTES = 2 << 20
"""Bytes that a Unix socket takes before its reader has come: a whole message or two, where the
kernel's own 208 KiB have each sent in five parts, with the rest moved each time."""

READ_BYTES = 256 << 10
WRITE_BYTES = 1 << 20
"""Bytes that are read from a socket, or handed to it, at once; Twisted's own are 64 and 128 KiB."""


def tune(protocol: Any) -> None:
    """Send small messages at once and large ones in large parts.

    Autobahn means to set TCP_NODELAY, but asks for it too early: 44 ms each.
    """
    set_option = getattr(protocol.transport, "setTcpNoDelay", None)
    if set_option is not None:
        with suppress(AttributeError, OSError):  # a Unix socket has no such option
            set_option(True)
    transport = protocol.transport
    while hasattr(transport, "transport"):  # TLS lies around the socket's own
        transport = transport.transport
    if transport.socket.family == socket.AF_UNIX:
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_BYTES)
    transport.bufferSize = READ_BYTES
    transport.SEND_LIMIT = WRITE_BYTES


_TALKATIVE = (
    "autobahn.wamp.websocket",
    "autobahn.twisted.websocket",
    "autobahn.websocket.protocol",
    "crossbar.router.router",
)


def leave_log_texts_plain() -> None:
    """Keep autobahn and crossbar from making texts for log lines that are then not written.

    Measured: up to a fourth of a router's time goes into them when messages are small.
    """
    for module in map(sys.modules.get, _TALKATIVE):
        for name in ("hlval", "hltype", "hlid", "pformat"):
            if hasattr(module, name):
                setattr(module, name, _as_it_is)


def _as_it_is(value: Any, **_style: Any) -> Any:
    return value


class ClientProtocol(WampWebSocketClientProtocol):
    """A WAMP connection that tells its owner why it ended."""

    log = DemotedLogger()
    _heard = 0.0
    _pings: LoopingCall | None = None

    def connectionMade(self) -> None:
        """See `tune`."""
        super().connectionMade()
        tune(self)

    def onOpen(self) -> None:
        """Begin to ping.

        Autobahn's own pings wait for the end of a frame: on a slow line that carries a large one
        they take the router for dead, and are not sent, for which the router takes us for dead.
        """
        super().onOpen()
        self._heard = time.monotonic()
        self._pings = LoopingCall(self._ping)
        self._pings.clock = self.factory.reactor
        self._pings.start(PING_INTERVAL, now=False)

    def _ping(self) -> None:
        if time.monotonic() - self._heard > PING_INTERVAL + PING_TIMEOUT:
            self.transport.abortConnection()
        else:
            self.sendPing()

    def dataReceived(self, data: bytes) -> None:
        """Note that the router lives: any byte says so."""
        self._heard = time.monotonic()
        super().dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """Pass the reason on; a failed TLS handshake shows nowhere else."""
        if self._pings is not None and self._pings.running:
            self._pings.stop()
        super().connectionLost(reason)
        self.factory.on_lost(reason)


def make_factory(settings: Settings, make_session: Any, on_lost: Any) -> WampWebSocketClientFactory:
    """Make the factory of one connection.

    Parameters
    ----------
    settings : Settings
        Where the router is.
    make_session : callable
        Returns a new session.
    on_lost : callable
        Called with a Failure when the connection has ended.
    """
    leave_log_texts_plain()
    url = "ws://localhost/ws" if settings.socket else f"wss://{_bracketed(settings.host)}/ws"
    factory = WampWebSocketClientFactory(
        make_session,
        url=url,
        # A new one each: they keep statistics per session.
        serializers=[TolerantSerializer(), MsgPackSerializer(), JsonSerializer()],
    )
    factory.protocol = ClientProtocol
    factory.noisy = False
    factory.on_lost = on_lost
    factory.setProtocolOptions(
        maxMessagePayloadSize=0,
        maxFramePayloadSize=0,
        openHandshakeTimeout=CONNECT_TIMEOUT,
        closeHandshakeTimeout=1,
    )
    return factory


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def make_endpoint(settings: Settings, reactor: Any) -> Any:
    """Make the Twisted endpoint of the router: Unix socket or TLS.

    Raises
    ------
    SettingsError
        If the host's name or the CA certificate in the home folder is not one.
    """
    if settings.socket:
        return endpoints.UNIXClientEndpoint(reactor, settings.socket, timeout=CONNECT_TIMEOUT)
    return make_tls_endpoint(settings, reactor, CONNECT_TIMEOUT)


def explain(failure: Failure, settings: Settings) -> RouterUnreachable:
    """Say in one sentence why the router could not be reached, and what to do."""
    where, cause = settings.address, failure.value
    ca = settings.home.ca_certificate
    if isinstance(cause, error.DNSLookupError):
        why = f"the host {settings.host} is not known: check CROSSBAR_HOST"
    elif isinstance(cause, error.ConnectionRefusedError | error.UnknownHostError):
        why = "nothing listens there: start the router (`make demo`), or check host and port"
    elif isinstance(cause, error.ConnectError) and settings.socket:
        why = f"{cause}: start the router, or unset CROSSBAR_SOCKET to use TLS"
    elif isinstance(cause, error.TimeoutError):
        why = "no answer: check CROSSBAR_HOST, CROSSBAR_TLS_PORT and the network"
    elif isinstance(cause, VerificationError):
        why = f"its certificate is not for {settings.host}: add the name with `sisock certs`"
    elif isinstance(cause, SSL.Error):
        doubt = f"is {ca} the CA of this router?" if ca.exists() else f"put its CA's into {ca}"
        why = f"TLS failed ({_tls_reason(cause)}): {doubt}"
    else:
        why = str(cause) or type(cause).__name__
    return RouterUnreachable(f"the router at {where} cannot be reached: {why}")


def _tls_reason(cause: SSL.Error) -> str:
    details = cause.args[0] if cause.args else []
    return str(details[0][-1]) if details and isinstance(details, list) else str(cause)
