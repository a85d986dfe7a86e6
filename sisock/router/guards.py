"""Replace parts of Crossbar, autobahn and Twisted in the router's processes, and in its proxies.

Crossbar has no settings for these things. A part that no longer exists ends the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from autobahn.wamp import message, serializer
from autobahn.wamp.exception import ProtocolError, SerializationError
from autobahn.wamp.types import TransportDetails
from crossbar.common.twisted import endpoint
from crossbar.router.dealer import Dealer
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from crossbar.worker.proxy import ProxyBackendSession, ProxyFrontendSession
from twisted.python.failure import Failure
from twisted.web import http, server

from sisock.connection.runtime import DemotedLogger
from sisock.connection.transport import tune
from sisock.errors import SettingsError
from sisock.router.doors import LARGE, Doors, find_door, find_fault
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT

PROXIED = "anonymous-proxy"
"""How sessions log in that a proxy passes on."""

MAX_SIGNATURE = 4096
"""Characters of what a client signs in with; a ticket may be long."""


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a function by one that is given the original, then its arguments."""
    original = getattr(owner, name, None)
    if original is None:
        raise SettingsError(
            f"{owner.__name__}.{name} is gone: install the versions of crossbar, autobahn and"
            " twisted that this version of sisock was made for"
        )

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        # No partial object: a method of a class has to be a function.
        setattr(owner, name, lambda *args, **kwargs: function(original, *args, **kwargs))
        return function

    return register


@instead_of(WampWebSocketServerProtocol, "connectionMade")
def connection_made(original: Any, self: Any) -> None:
    """Measured: 44 ms on the first call of each connection without it, 1 ms with it."""
    original(self)
    tune(self)


@instead_of(WampWebSocketServerProtocol, "send")
@instead_of(WampRawSocketServerProtocol, "send")
def send(original: Any, self: Any, msg: Any) -> None:
    """Every message to a client passes here: its WELCOME, and those that it may not read."""
    try:
        original(self, msg)
    except SerializationError as error:
        stranger = find_door(self.transport)
        if stranger is None or not stranger.is_stranger:
            raise
        return stranger.refuse(str(error))
    if isinstance(msg, message.Welcome):
        self.door = find_door(self.transport)
        if self.door is not None:
            self.door.end_wait()
    elif self.door is not None and self.door.unread > LARGE:
        self.door.factory.relieve()


@instead_of(WampWebSocketServerProtocol, "_fail_connection")
def fail_connection(original: Any, self: Any, code: int = 1001, reason: str = "going away") -> None:
    """Autobahn waits for a stranger to answer its close frame, and logs several lines."""
    door = find_door(self.transport)
    self.log = DemotedLogger()
    if door is not None:
        self.failByDrop |= door.is_stranger
        door.tell(reason)
        door.refuse(reason)
    original(self, code, reason)


@instead_of(WampWebSocketServerProtocol, "failHandshake")
def fail_handshake(original: Any, self: Any, reason: str, *args: Any, **kwargs: Any) -> None:
    """Autobahn quotes whole headers."""
    door = find_door(self.transport)
    if door is not None:
        door.tell(reason)
    self.log = DemotedLogger()
    original(self, reason, *args, **kwargs)


@instead_of(RouterSession, "onMessage")
def on_message(original: Any, self: Any, msg: Any) -> None:
    """Judge what a client sends; what comes from a proxy has been judged there."""
    if self._authmethod == PROXIED or is_harmless(self, self._transport, msg):
        original(self, msg)


@instead_of(Dealer, "_remove_invoke_request")
def end_call(original: Any, self: Any, call: Any) -> None:
    """Crossbar would log a traceback, and keep the call, if its caller gave it up and has left."""
    if call.id in self._invocations:
        calls = self._caller_to_invocations.setdefault(call.caller, [])
        if call not in calls:
            calls.append(call)
    original(self, call)


@instead_of(ProxyFrontendSession, "onMessage")
def on_message_of_proxy(original: Any, self: Any, msg: Any) -> None:
    """Crossbar would log a traceback of what a stranger does wrong, and leave them connected."""

    def end(failure: Failure) -> None:
        if (transport := self.transport) is not None:
            transport._bailout(transport.CLOSE_STATUS_CODE_PROTOCOL_ERROR, str(failure.value))

    if is_harmless(self, self.transport, msg):
        original(self, msg).addErrback(end)


@instead_of(ProxyBackendSession, "onClose")
def on_close(original: Any, self: Any, was_clean: bool) -> None:
    """Crossbar would abort the session of a client that has said goodbye."""
    client = self._frontend
    if client is not None and client._session_id is not None and client._backend_session is None:
        self._frontend = None
    original(self, was_clean)


def is_harmless(session: Any, transport: Any, msg: Any) -> bool:
    """Refuse arguments that receivers cannot bear: the caller gets an error, and they nothing."""
    if isinstance(msg, message.Authenticate) and not (
        len(msg.signature) <= MAX_SIGNATURE and msg.signature.isprintable()
    ):
        raise ProtocolError("a signature must be one line")  # the log quotes a wrong one
    is_payload = session._session_id is not None and isinstance(msg, message.Call | message.Publish)
    if not is_payload or (fault := find_fault(msg.args, msg.kwargs)) is None:
        return True
    if isinstance(msg, message.Call) or msg.acknowledge:
        kind, uri = msg.MESSAGE_TYPE, ERROR_INVALID_ARGUMENT
        transport.send(message.Error(kind, msg.request, uri, args=[fault]))
    return False


@instead_of(TransportDetails, "marshal")
def marshal(original: Any, self: Any) -> dict[str, Any]:
    """Autobahn cannot parse what it writes: the router would never see a proxy's session end."""
    details = original(self)
    channel = {kind: value.hex() for kind, value in (details["channel_id"] or {}).items()}
    return {**details, "channel_id": channel or None}


@instead_of(serializer, "_loads")
def loads(original: Any, text: str, **options: Any) -> Any:
    """Autobahn's scanner, in Python, is needed only for bytes, which JSON has after a NUL."""
    if "\\u0000" in text or any(options.values()):
        return original(text, **options)
    return json.loads(text)


@instead_of(server.Request, "process")
def process(original: Any, self: Any) -> None:
    """A complete HTTP request gives its connection time; Twisted logs paths that no file has."""
    channel = self.channel
    door = find_door(channel.transport)
    if is_path(self.path):
        original(self)
    else:
        self.setResponseCode(http.BAD_REQUEST)
        self.setHeader(b"content-length", b"0")
        self.finish()
    if door is not None and channel.transport is not None:  # a WebSocket has taken it over
        door.renew()


def is_path(path: bytes) -> bool:
    """Return whether a quoted path can be that of a file."""
    try:
        return "\0" not in unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False


@instead_of(endpoint, "MaxConnectionsFactory")
def make_doors(original: Any, *args: Any) -> Doors:
    """Count and guard connections, see `sisock.router.doors`."""
    return Doors(*args)


# Without the tracebacks of what clients send wrongly.
WampWebSocketServerProtocol.log = DemotedLogger("error", "critical")
WampWebSocketServerProtocol.door = WampRawSocketServerProtocol.door = None
ProxyFrontendSession.log = DemotedLogger("info", "warn", "error", "failure")
ProxyFrontendSession._pending_auth = None  # Crossbar asks for it before it is there
# One HTTP/2 connection may begin thousands of requests at once.
http.H2_ENABLED = False
