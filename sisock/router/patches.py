"""Replace functions of Crossbar, autobahn and Twisted in the processes of router and proxies.

Crossbar has no settings for this. If one of these functions is missing, the router does not start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from autobahn.exception import Disconnected
from autobahn.wamp import message, serializer
from autobahn.wamp.exception import ProtocolError, SerializationError
from autobahn.wamp.types import TransportDetails
from autobahn.websocket import protocol
from autobahn.websocket.types import ConnectionDeny
from autobahn.websocket.xormasker import XorMaskerNull
from crossbar.common.twisted import endpoint
from crossbar.router.broker import Broker
from crossbar.router.dealer import Dealer
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.role import RouterRoleStaticAuth
from crossbar.router.router import Router
from crossbar.router.session import RouterApplicationSession, RouterSession
from crossbar.worker import proxy
from crossbar.worker.proxy import ProxyBackendSession, ProxyFrontendSession
from twisted.internet import defer
from twisted.python.failure import Failure
from twisted.web import http, server

from sisock.connection.cbor import load_cbor
from sisock.connection.runtime import DemotedLogger
from sisock.connection.transport import tune
from sisock.errors import SettingsError
from sisock.router.limits import (
    LARGE,
    MANY_SUBSCRIPTIONS,
    MAX_MESSAGE_BYTES,
    MAX_SUBSCRIPTIONS,
    MAX_TOPIC,
    Doors,
    find_door,
    is_harmless,
)
from sisock.router.page import ORIGINS_VARIABLE, may_connect
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, USER_SERVER

PROXIED = "anonymous-proxy"  # authentication method of sessions that come through a proxy

ORIGINS = os.environ.get(ORIGINS_VARIABLE, "")
"""Origins of web pages that may connect, besides the router's own page."""


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a replacement for `owner.name`; it gets the original as its first argument."""
    original = getattr(owner, name, None)
    if original is None:
        raise SettingsError(
            f"{owner.__name__}.{name} is gone: install the versions of crossbar, autobahn and"
            " twisted that this version of sisock was made for"
        )

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        # Not a partial object: only functions become methods.
        setattr(owner, name, lambda *args, **kwargs: function(original, *args, **kwargs))
        return function

    return register


@instead_of(WampWebSocketServerProtocol, "connectionMade")
def connection_made(original: Any, self: Any) -> None:
    """Tune the socket: the first call on a connection then takes 1 ms instead of 44 ms."""
    original(self)
    tune(self)
    self.webStatus = False  # autobahn's page forwards browsers to any address in its own


@instead_of(protocol, "create_xor_masker")
def create_masker(original: Any, mask: bytes, length: int) -> Any:
    """Leave payloads that are masked with zeros, as sisock's programs do, as they are."""
    return original(mask, length) if any(mask) else XorMaskerNull()


@instead_of(WampWebSocketServerProtocol, "onConnect")
def on_connect(original: Any, self: Any, request: Any) -> Any:
    """Refuse connections from pages of other origins."""
    if not may_connect(request.origin or "", request.headers.get("host", ""), ORIGINS):
        reason = f"a page of {request.origin} may not connect: add it to {ORIGINS_VARIABLE}"
        raise ConnectionDeny(ConnectionDeny.FORBIDDEN, reason)
    return original(self, request)


@instead_of(WampWebSocketServerProtocol, "send")
@instead_of(WampRawSocketServerProtocol, "send")
def send(original: Any, self: Any, msg: Any) -> None:
    """Send a message; WELCOME ends the limits of strangers. Check the unread bytes.

    A message to a connection that is being closed is dropped: an error would keep it from others.
    """
    try:
        original(self, msg)
    except Disconnected:
        return
    except SerializationError as error:
        stranger = find_door(self.transport)
        if stranger is None or not stranger.is_stranger:
            raise
        return stranger.refuse(str(error))
    if isinstance(msg, message.Welcome):
        self.door = find_door(self.transport)
        if self.door is not None:
            self.door.end_wait()
        if msg.authrole != USER_SERVER:
            self.maxMessagePayloadSize = MAX_MESSAGE_BYTES
    elif self.door is not None and self.door.unread > LARGE:
        self.door.factory.relieve()


@instead_of(WampWebSocketServerProtocol, "_fail_connection")
def fail_connection(original: Any, self: Any, code: int = 1001, reason: str = "going away") -> None:
    """Close at once and log one line; autobahn waits for a close frame and logs several."""
    door = find_door(self.transport)
    if door is not None:
        self.failByDrop |= door.is_stranger
        door.tell(reason)
        door.refuse(reason)
    original(self, code, reason)


@instead_of(WampWebSocketServerProtocol, "onAutoPingTimeout")
def on_ping_timeout(original: Any, self: Any) -> None:
    """Log one line for a client that answers no ping; autobahn closes it silently."""
    door = find_door(self.transport)
    if door is not None:
        door.tell(f"it answered no ping within {self.autoPingTimeout:g} s")
    original(self)


@instead_of(WampWebSocketServerProtocol, "failHandshake")
def fail_handshake(original: Any, self: Any, reason: str, *args: Any, **kwargs: Any) -> None:
    """Log only the reason; autobahn logs whole headers."""
    door = find_door(self.transport)
    if door is not None:
        door.tell(reason)
    original(self, reason, *args, **kwargs)


@instead_of(RouterSession, "onMessage")
def on_message(original: Any, self: Any, msg: Any) -> None:
    """Handle a client's message if it is harmless; a proxy has checked its clients' messages."""
    if self._authmethod == PROXIED or is_harmless(self, self._transport, msg):
        original(self, msg)


@instead_of(Router, "authorize")
def authorize(
    original: Any, self: Any, session: Any, uri: str, action: str, options: Any
) -> defer.Deferred:
    """Look up a permission; Crossbar also looks into its cache, which takes six times as long."""
    role = self._roles.get(session._authrole)
    if isinstance(role, RouterRoleStaticAuth):
        return defer.succeed(role.authorize(session, uri, action, options))
    return original(self, session, uri, action, options)


@instead_of(Dealer, "processCall")
def process_call(original: Any, self: Any, session: Any, call: Any) -> None:
    """Process a call; disconnect a client that uses the number of a running call again."""
    if (session._session_id, call.request) in self._invocations_by_call:
        raise ProtocolError(f"the call {call.request} is still running")
    original(self, session, call)


@instead_of(Dealer, "_call")
def invoke(original: Any, self: Any, session: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
    """Pass a call on; answer it if the callee's serializer cannot write its arguments."""
    try:
        return original(self, session, call, *args, **kwargs)
    except SerializationError as error:
        self._remove_invoke_request(self._invocations_by_call[session._session_id, call.request])
        kind, why = message.Call.MESSAGE_TYPE, [f"the node cannot get the arguments: {error}"]
        reply = message.Error(kind, call.request, ERROR_INVALID_ARGUMENT, args=why)
        self._router.send(session, reply)
        return True


@instead_of(Broker, "processSubscribe")
def process_subscribe(original: Any, self: Any, session: Any, subscribe: Any) -> None:
    """Process a subscription; if there are too many, disconnect the client with the most."""
    if len(subscribe.topic) > MAX_TOPIC:
        raise ProtocolError(f"a topic has at most {MAX_TOPIC} characters")
    original(self, session, subscribe)
    topics = self._session_to_subscriptions
    if len(topics[session]) % MANY_SUBSCRIPTIONS:
        return
    clients = {each: len(has) for each, has in topics.items() if each._authrole != USER_SERVER}
    if sum(clients.values()) > MAX_SUBSCRIPTIONS:
        door = find_door(max(clients, key=clients.__getitem__)._transport.transport)
        if door is not None:
            door.close(f"there are over {MAX_SUBSCRIPTIONS} subscriptions, and it has the most")


@instead_of(Dealer, "_remove_invoke_request")
def end_call(original: Any, self: Any, call: Any) -> None:
    """End a call whose caller cancelled it and left; Crossbar would keep it and log a traceback."""
    if call.id in self._invocations:
        calls = self._caller_to_invocations.setdefault(call.caller, [])
        if call not in calls:
            calls.append(call)
    original(self, call)


@instead_of(ProxyFrontendSession, "onMessage")
def on_message_of_proxy(original: Any, self: Any, msg: Any) -> None:
    """Handle a harmless message; disconnect after an error, where Crossbar logs a traceback."""

    def end(failure: Failure) -> None:
        if (transport := self.transport) is not None:
            transport._bailout(transport.CLOSE_STATUS_CODE_PROTOCOL_ERROR, str(failure.value))

    if is_harmless(self, self.transport, msg):
        original(self, msg).addErrback(end)


@instead_of(ProxyBackendSession, "onClose")
def on_close(original: Any, self: Any, was_clean: bool) -> None:
    """Leave the session of a disconnected client alone; Crossbar would abort it."""
    client = self._frontend
    if client is not None and client._session_id is not None and client._backend_session is None:
        self._frontend = None
    original(self, was_clean)


@instead_of(proxy, "_read_node_key")
@cache
def read_node_key(original: Any, folder: str, private: bool = False) -> dict[str, str]:
    """Read a proxy's key once; at each login Crossbar draws its QR code, which takes 40 ms."""
    return original(folder, private=private)


@instead_of(TransportDetails, "marshal")
def marshal(original: Any, self: Any) -> dict[str, Any]:
    """Write channel ids as hex: otherwise autobahn cannot parse them, and misses ended sessions."""
    details = original(self)
    channel = {kind: value.hex() for kind, value in (details["channel_id"] or {}).items()}
    return {**details, "channel_id": channel or None}


@instead_of(serializer, "_cbor_loads")
def cbor_loads(original: Any, payload: bytes) -> Any:
    """Decode CBOR in a short time, whatever strangers send."""
    return load_cbor(payload)


@instead_of(serializer, "_loads")
def loads(original: Any, text: str, **options: Any) -> Any:
    """Parse JSON fast; autobahn's slow Python scanner is only for bytes, which begin with NUL."""
    if "\\u0000" in text or any(options.values()):
        return original(text, **options)
    return json.loads(text)


@instead_of(server.Request, "process")
def process(original: Any, self: Any) -> None:
    """Answer an HTTP request and renew the time limit; reject paths that are no file names."""
    channel = self.channel
    door = find_door(channel.transport)
    self.requestHeaders.removeHeader(b"range")  # Twisted fails at several ranges
    if is_path(self.path):
        original(self)
    else:
        self.setResponseCode(http.BAD_REQUEST)
        self.setHeader(b"content-length", b"0")
        self.finish()
    if door is not None and channel.transport is not None:  # None: now used by a WebSocket
        door.renew()


def is_path(path: bytes) -> bool:
    """Return whether a quoted path can name a file."""
    try:
        return "\0" not in unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False


@instead_of(endpoint, "MaxConnectionsFactory")
def make_doors(original: Any, *args: Any) -> Doors:
    """Count and guard connections, see `sisock.router.limits`."""
    return Doors(*args)


# Do not log tracebacks for invalid messages of clients.
WampWebSocketServerProtocol.log = DemotedLogger("info", "warn", "error", "critical")
WampWebSocketServerProtocol.door = WampRawSocketServerProtocol.door = None
RouterApplicationSession.log = DemotedLogger("warn")  # a session that ends with the router
ProxyFrontendSession.log = DemotedLogger("info", "warn", "error", "failure")
ProxyFrontendSession._pending_auth = None  # Crossbar reads it before setting it
# A single HTTP/2 connection can start thousands of requests at once.
http.H2_ENABLED = False
